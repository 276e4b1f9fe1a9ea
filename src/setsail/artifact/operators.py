"""Operators a program may use: the gate's trust list. Literal, short, reviewed.

The two ONNX domains are open: their operators compute, and read nothing but their inputs. Of onnxruntime's own domain
only the operators listed are: pure computation that converters and optimisers emit. Left out on purpose: `EPContext`
(opens a file it names), `PythonOp` (runs Python), anything training or generation, and internal layouts, which other
machines do not have. When the list shrinks, raise `verdict.GATE_VERSION`.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DOMAINS", "MICROSOFT", "RESERVED"]

DOMAINS: Final = frozenset({"", "ai.onnx.ml"})

# Domains whose operators the runtime brings itself; a model's own function may not use them.
RESERVED: Final = ("ai.onnx", "com.microsoft", "com.ms")

MICROSOFT: Final = frozenset(
    """
    CDist ExpandDims GatherND Inverse MurmurHash3 Pad Range Tokenizer Trilu Unique WordConvEmbedding
    FusedConv FusedGemm FusedMatMul FusedMatMulActivation TransposeMatMul GemmFastGelu
    BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu FastGelu Gelu QuickGelu
    EmbedLayerNormalization GroupNorm SkipGroupNorm SkipLayerNormalization SimplifiedLayerNormalization
    SkipSimplifiedLayerNormalization Attention GroupQueryAttention MultiHeadAttention PackedAttention
    PackedMultiHeadAttention RelativePositionBias GatedRelativePositionBias RemovePadding RestorePadding RotaryEmbedding
    DequantizeLinear DequantizeBFP QuantizeLinear QuantizeBFP DynamicQuantizeLSTM DynamicQuantizeMatMul MatMulBnb4
    MatMulInteger16 MatMulIntegerToFloat MatMulNBits GatherBlockQuantized QAttention QEmbedLayerNormalization QGemm
    QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul
    QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere QMoE MoE
    ConvTransposeWithDynamicPads CropAndResize GridSample ImageScaler MaxpoolWithMask NhwcConv NhwcMaxPool
    """.split()  # noqa: SIM905, a list people review reads better so
)
