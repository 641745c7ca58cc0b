"""Two small ONNX models that take samples (package onnx 1.23)."""
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n


def save(name, nodes, inputs, outputs, constants):
    values = [n.from_array(value, key) for key, value in constants.items()]
    graph = h.make_graph(nodes, name, inputs, outputs, values)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, f"{name}.onnx")


# windows of 8 samples -> 4 vectors: the sums and the alternating sums of 2 samples each
save(
    "embeddings",
    [
        h.make_node("Reshape", ["wav", "shape"], ["pairs"]),
        h.make_node("MatMul", ["pairs", "weight"], ["vectors"]),
    ],
    [h.make_tensor_value_info("wav", T.FLOAT, [1, 8])],
    [h.make_tensor_value_info("vectors", T.FLOAT, [1, 4, 2])],
    {"shape": np.array([1, 4, 2]), "weight": np.array([[1, 1], [1, -1]], np.float32)},
)

# any number of samples -> logits: their greatest, their mean, their least
save(
    "classifier",
    [
        h.make_node("ReduceMax", ["wav"], ["top"], axes=[1], keepdims=1),
        h.make_node("ReduceMean", ["wav"], ["mean"], axes=[1], keepdims=1),
        h.make_node("ReduceMin", ["wav"], ["low"], axes=[1], keepdims=1),
        h.make_node("Concat", ["top", "mean", "low"], ["logits"], axis=1),
    ],
    [h.make_tensor_value_info("wav", T.FLOAT, ["batch", "samples"])],
    [
        h.make_tensor_value_info("mean", T.FLOAT, ["batch", 1]),
        h.make_tensor_value_info("logits", T.FLOAT, ["batch", 3]),
    ],
    {},
)

# spectrograms, which are no samples
save(
    "spectrogram",
    [h.make_node("Identity", ["mel"], ["same"])],
    [h.make_tensor_value_info("mel", T.FLOAT, ["n", 1, 96, 64])],
    [h.make_tensor_value_info("same", T.FLOAT, ["n", 1, 96, 64])],
    {},
)
