"""Which operators a SavedModel uses, read without TensorFlow: whether loading it can reach beyond itself.

A SavedModel is data to look at and a program to load: its graph may read, write and list files, call Python functions
of the process, open connections. `saved_model.pb` is walked field by field, functions included, and every operator
must be one of HARMLESS: arithmetic, shapes, control flow, text, tables and variables of its own. Any other needs
`--trust pickle`. What cannot be translated is not on the list either, so nobody who could pack a model is asked.

Where protobuf would merge or take the last of what occurs twice, here all of it counts: no file has fewer operators for
this reader than for TensorFlow. Field numbers: saved_model.proto, meta_graph.proto, graph.proto, function.proto,
node_def.proto, op_def.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NoReturn

from setsail.errors import SetsailError

__all__ = ["HARMLESS", "SAVERS", "findings"]

# One text, so that the list can be read.
_NAMES: Final = """
Abs AccumulateNV2 Acos Acosh Add AddN AddV2 AdjustContrastv2 AdjustHue AdjustSaturation All Angle AnonymousHashTable
AnonymousMutableDenseHashTable AnonymousMutableHashTable Any ApproximateEqual ArgMax ArgMin AsString Asin Asinh Assert
Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp Atan Atan2 Atanh AvgPool AvgPool3D
AvgPool3DGrad AvgPoolGrad BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchToSpace BatchToSpaceND BesselI0e BesselI1e
Betainc BiasAdd BiasAddGrad BiasAddV1 Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor BlockLSTM BlockLSTMV2
BroadcastArgs BroadcastGradientArgs BroadcastTo Bucketize CTCGreedyDecoder Case Cast Ceil CheckNumerics Cholesky
ClipByValue CombinedNonMaxSuppression Complex ComplexAbs Concat ConcatOffset ConcatV2 Conj Const Conv Conv2D
Conv2DBackpropFilter Conv2DBackpropInput Conv3D Conv3DBackpropFilterV2 Conv3DBackpropInputV2 Cos Cosh CropAndResize
Cross CudnnRNN Cumprod Cumsum CumulativeLogsumexp DataFormatDimMap DataFormatVecPermute DenseBincount
DenseToDenseSetOperation DepthToSpace DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter
DepthwiseConv2dNativeBackpropInput Dequantize DestroyResourceOp Diag DiagPart Digamma Dilation2D DisableCopyOnRead Div
DivNoNan DynamicPartition DynamicStitch EditDistance Einsum Elu EluGrad EmptyTensorList EnsureShape Enter Equal Erf
Erfc Erfinv EuclideanNorm Exit Exp ExpandDims Expm1 ExtractImagePatches FFT FFT2D FakeParam FakeQuantWithMinMaxArgs
FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod FusedBatchNorm
FusedBatchNormGrad FusedBatchNormGradV3 FusedBatchNormV2 FusedBatchNormV3 GRUBlockCell Gather GatherNd GatherV2
Greater GreaterEqual HSVToRGB HashTable HashTableV2 IFFT IFFT2D IRFFT IRFFT2D Identity IdentityN If Igamma Igammac
Imag ImageProjectiveTransformV2 ImageProjectiveTransformV3 InTopKV2 InitializeTable InitializeTableV2 Inv Invert
InvertPermutation IsFinite IsInf IsNan IsVariableInitialized L2Loss LRN LSTMBlockCell LeakyRelu LeakyReluGrad
LeftShift Less LessEqual Lgamma LinSpace ListDiff Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr
LookupTableExport LookupTableExportV2 LookupTableFind LookupTableFindV2 LookupTableImport LookupTableImportV2
LookupTableInsertV2 LookupTableRemoveV2 LookupTableSize LookupTableSizeV2 LoopCond LowerBound MatMul MatrixBandPart
MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixInverse
MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve MatrixTriangularSolve Max MaxPool MaxPool3D MaxPool3DGrad
MaxPoolGrad MaxPoolGradV2 MaxPoolV2 MaxPoolWithArgmax Maximum Mean Merge Min Minimum MirrorPad MirrorPadGrad Mod Mul
MulNoNan Multinomial MutableDenseHashTableV2 MutableHashTable MutableHashTableV2 Neg NextIteration NoOp
NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NotEqual OneHot
OnesLike Pack Pad PadV2 ParallelDynamicStitch PartitionedCall Placeholder PlaceholderV2 PlaceholderWithDefault
Polygamma PopulationCount Pow PreventGradient Prod QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
QuantizeAndDequantizeV4 QuantizeV2 RFFT RFFT2D RGBToHSV RaggedGather RaggedRange RaggedTensorFromVariant
RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant RandomGamma RandomPoissonV2 RandomShuffle
RandomStandardNormal RandomUniform RandomUniformInt Range Rank ReadVariableOp Real RealDiv Reciprocal ReciprocalGrad
ReduceJoin RegexFullMatch RegexReplace Relu Relu6 Relu6Grad ReluGrad Reshape ResizeArea ResizeBicubic ResizeBilinear
ResizeBilinearGrad ResizeNearestNeighbor ResizeNearestNeighborGrad ResourceGather ResourceGatherNd ResourceScatterAdd
ResourceScatterUpdate Reverse ReverseSequence ReverseV2 RightShift Rint RngReadAndSkip RngSkip Roll Round Rsqrt
RsqrtGrad ScaleAndTranslate ScatterNd SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 Selu
SeluGrad Shape ShapeN Sigmoid SigmoidGrad Sign Sin Sinh Size Slice Snapshot Softmax SoftmaxCrossEntropyWithLogits
Softplus SoftplusGrad Softsign SoftsignGrad SpaceToBatch SpaceToBatchND SpaceToDepth SparseAdd SparseBincount
SparseConcat SparseCross SparseFillEmptyRows SparseReduceSum SparseReorder SparseReshape SparseSegmentMean
SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments SparseSegmentSum
SparseSegmentSumWithNumSegments SparseSlice SparseSoftmaxCrossEntropyWithLogits SparseTensorDenseAdd
SparseTensorDenseMatMul SparseToDense Split SplitV Sqrt SqrtGrad Square SquaredDifference Squeeze Stack StackPopV2
StackPushV2 StackV2 StatefulPartitionedCall StatelessCase StatelessIf StatelessMultinomial
StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt
StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessShuffle StatelessTruncatedNormal
StatelessTruncatedNormalV2 StatelessWhile StaticRegexFullMatch StaticRegexReplace StopGradient StridedSlice
StridedSliceGrad StringFormat StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2 StringStrip
StringToHashBucket StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper Sub Substr Sum Switch
SymbolicGradient Tan Tanh TanhGrad TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3
TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcat
TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatter TensorListScatterV2
TensorListSetItem TensorListSplit TensorListStack TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
TensorScatterUpdate Tile TopK TopKV2 Transpose TruncateDiv TruncateMod TruncatedNormal UnicodeDecode
UnicodeDecodeWithOffsets UnicodeEncode UnicodeTranscode Unique UniqueV2 UniqueWithCounts Unpack UnravelIndex
UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound VarHandleOp VarIsInitializedOp
Variable VariableShape VariableV2 Where While Xdivy Xlog1py Xlogy ZerosLike
"""
HARMLESS: Final = frozenset(_NAMES.split())
# How a SavedModel writes and reads its own variables. They stand in its main graph, which is not run, and in functions
# of these names, which take the place to write to.
SAVERS: Final = frozenset(("SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "SaveSlices"))
_SAVING: Final = ("__inference__traced_save", "__inference__traced_restore")

_MAX_BYTES: Final = 2 << 30
_MAX_FIELDS: Final = 20_000_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# message -> field number -> message in it; "op" is a text. Functions are read by `_Walk.function`.
_CHILDREN: Final[Mapping[str, Mapping[int, str]]] = {
    "SavedModel": {2: "MetaGraph"},
    "MetaGraph": {2: "Graph"},
    "Graph": {1: "Node", 2: "Library"},
    "Library": {1: "Function"},
    "Node": {2: "op"},
}


def findings(path: Path) -> tuple[str, ...]:
    """Operators of a `saved_model.pb` that reach beyond the model, each once, with where they stand.

    Raises:
        SetsailError: `source.damaged` for what is no SavedModel.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        if not 0 < size < _MAX_BYTES:
            raise SetsailError("source.damaged", f"{path.name} has {size} bytes", value=size, expected="a SavedModel")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            walk = _Walk(data, path.name)
            walk.message("SavedModel", 0, size)
    if not walk.graphs:
        raise SetsailError("source.damaged", f"{path.name} holds no graph", expected="a SavedModel with a graph")
    return tuple(walk.found)


class _Walk:
    """One pass over the file.

    Attributes:
        found: operators that are not harmless, in order.
        graphs: how many main graphs there are.
    """

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self._data, self._name, self._left = data, name, _MAX_FIELDS
        self.found: dict[str, None] = {}
        self.graphs = 0

    def message(self, kind: str, at: int, end: int) -> None:
        if kind == "Graph":
            self.graphs += 1
        children = _CHILDREN[kind]
        for number, start, stop in self._fields(at, end):
            inner = children.get(number)
            if inner == "op":
                self._judge(start, stop, saving=True)
            elif inner == "Function":
                self._function(start, stop)
            elif inner is not None:
                self.message(inner, start, stop)

    def _function(self, at: int, end: int) -> None:
        """A function's operators. Its name and arguments say whether it is one that saves or restores variables."""
        names, arguments = [], 0
        parts = list(self._fields(at, end))
        for number, start, stop in parts:
            if number == 1:
                for inner, a, b in self._fields(start, stop):
                    arguments += inner == 2
                    if inner == 1:
                        names.append(self._data[a:b].decode(errors="replace"))
        saving = bool(names) and arguments > 0 and all(n.startswith(_SAVING) for n in names)
        for number, start, stop in parts:
            if number == 3:
                for inner, a, b in self._fields(start, stop):
                    if inner == 2:
                        self._judge(a, b, saving=saving)

    def _judge(self, at: int, end: int, *, saving: bool) -> None:
        op = self._data[at : min(end, at + 200)].decode(errors="replace")
        if op not in HARMLESS and not (saving and op in SAVERS):
            self.found[op] = None

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Length-delimited fields of a message: number, start, end. Others are stepped over."""
        while at < end:
            self._left -= 1
            tag, at = self._varint(at, end)
            wire = tag & 7
            if wire == _BYTES:
                length, at = self._varint(at, end)
                if length > end - at:
                    self._refuse()
                yield tag >> 3, at, at + length
                at += length
            elif wire == _VARINT:
                _, at = self._varint(at, end)
            elif wire in (_FIXED32, _FIXED64):
                at += 4 if wire == _FIXED32 else 8
            else:
                self._refuse()
            if at > end or self._left < 0:
                self._refuse()

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                self._refuse()
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise SetsailError("source.damaged", f"{self._name} is no readable SavedModel", value=self._name,
                           expected="a protobuf that TensorFlow wrote")  # fmt: skip
