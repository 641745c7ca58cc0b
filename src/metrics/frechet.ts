/** The Fréchet distance between two sets of embeddings, each taken as a normal distribution (FAD, arXiv 1812.08466). */
import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import { UserError } from "../errors.ts";

/** Mean and covariance of vectors that come one after the other (Welford). */
export class GaussianStatistics {
  count = 0;
  private readonly dim: number;
  private readonly means: Float64Array;
  /** Sums of products of deviations, [dim, dim]. */
  private readonly products: Float64Array;

  constructor(dim: number) {
    this.dim = dim;
    this.means = new Float64Array(dim);
    this.products = new Float64Array(dim * dim);
  }

  add(vector: ArrayLike<number>): void {
    const { dim, means, products } = this;
    if (vector.length !== dim) throw new Error(`a vector of ${vector.length} among those of ${dim}`);
    this.count++;
    const before = Float64Array.from(means, (mean, i) => vector[i] - mean);
    for (let i = 0; i < dim; i++) means[i] += before[i] / this.count;
    for (let i = 0; i < dim; i++) {
      for (let j = 0; j < dim; j++) products[i * dim + j] += before[i] * (vector[j] - means[j]);
    }
  }

  get mean(): Float64Array {
    return this.means;
  }

  /** Unbiased, as numpy's `cov`. @throws UserError with fewer than two vectors */
  get covariance(): Matrix {
    if (this.count < 2) {
      throw new UserError(`a Fréchet distance needs two embeddings at least, and there is ${this.count}`);
    }
    const { dim, products, count } = this;
    return Matrix.from1DArray(
      dim,
      dim,
      Array.from(products, (sum) => sum / (count - 1)),
    );
  }
}

/** |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^1/2) */
export function frechetDistance(a: GaussianStatistics, b: GaussianStatistics): number {
  const [first, second] = [a.covariance, b.covariance];
  const means = a.mean.reduce((sum, value, i) => sum + (value - b.mean[i]) ** 2, 0);
  return means + first.trace() + second.trace() - 2 * traceOfRootOfProduct(first, second);
}

/** Tr((A B)^1/2) for symmetric positive A and B: that of (A^1/2 B A^1/2)^1/2, which is symmetric. */
function traceOfRootOfProduct(a: Matrix, b: Matrix): number {
  const root = symmetricRoot(a);
  const middle = root.mmul(b).mmul(root);
  const symmetric = Matrix.add(middle, middle.transpose()).mul(0.5);
  const { realEigenvalues } = new EigenvalueDecomposition(symmetric, { assumeSymmetric: true });
  return realEigenvalues.reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
}

function symmetricRoot(a: Matrix): Matrix {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(a, { assumeSymmetric: true });
  const roots = Matrix.diag(realEigenvalues.map((value) => Math.sqrt(Math.max(0, value))));
  return eigenvectorMatrix.mmul(roots).mmul(eigenvectorMatrix.transpose());
}
