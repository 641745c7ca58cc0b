# Makes frechet.json: scipy's Frechet distance of random embeddings.
import json

import numpy as np
from scipy import linalg

rng = np.random.default_rng(0)
cases = []
for dim, n in ((3, 10), (8, 20), (16, 12)):
    a = rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim))
    b = rng.normal(size=(n + 3, dim)) @ rng.normal(size=(dim, dim)) + 0.5
    a, b = a.round(4), b.round(4)
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(c1 @ c2)
    distance = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * root.real)
    cases.append({"a": a.tolist(), "b": b.tolist(), "distance": float(distance)})
print(json.dumps(cases))
