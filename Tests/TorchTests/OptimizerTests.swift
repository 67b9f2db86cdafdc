import Support
import Testing
import Torch

extension TorchTests {
    @Suite struct Optimizers {
        /// Two parameters in two groups, and the gradients of six steps.
        struct Course {
            let json: JSON
            let rates: [Double]
            let skipped: [Int]
            let slopes: [[Tensor]]
            let parameters: [Tensor]

            init() throws {
                json = try fixture("training.json").required("optimizers")
                rates = try #require(json["rates"]?.array).compactMap(\.double)
                skipped = try #require(json["skipped"]?.integers)
                slopes = try #require(json["slopes"]?.array).map {
                    try #require($0.array).map { try $0.tensor() }
                }
                parameters = try #require(json["start"]?.array).map { try $0.tensor() }
                for parameter in parameters { try parameter.requireGradient() }
            }

            var groups: [ParameterGroup] {
                [
                    ParameterGroup([NamedTensor("first", parameters[0])], decay: 0.1),
                    ParameterGroup([NamedTensor("second", parameters[1])], rateScale: 3),
                ]
            }

            func step(_ optimizer: Optimizer, _ step: Int) throws {
                try parameters[0].setGradient(slopes[step][0].clone())
                try parameters[1].setGradient(skipped.contains(step) ? nil : slopes[step][1].clone())
                try optimizer.step(rate: rates[step])
            }
        }

        static let kinds: [(String, OptimizerKind)] = [
            ("adamW", .adamW(beta1: 0.8, beta2: 0.95, epsilon: 1e-3)),
            ("adam", .adam(beta1: 0.9, beta2: 0.98, epsilon: 1e-6)),
            ("adamWOriginal", .adamWOriginal(beta1: 0.9, beta2: 0.98, epsilon: 1e-4)),
            ("sgd", .sgd()),
            ("momentum", .sgd(momentum: 0.9)),
            ("nesterov", .sgd(momentum: 0.8, nesterov: true)),
        ]

        @Test("six steps equal PyTorch's, with groups, rates, decay and missing gradients", arguments: kinds)
        func steps(_ name: String, _ kind: OptimizerKind) throws {
            let course = try Course()
            let optimizer = Optimizer(kind, course.groups)
            let expected = try #require(course.json["runs"]?[name]?.array)
            #expect(expected.count == 6)
            for (step, values) in expected.enumerated() {
                let before = try course.parameters[1].floats()
                try course.step(optimizer, step)
                if course.skipped.contains(step) { #expect(try course.parameters[1].floats() == before) }
                for (found, value) in zip(course.parameters, try #require(values.array)) {
                    try expectClose(found, value.tensor(), "\(name) step \(step)")
                }
            }
            #expect(optimizer.state().steps == ["first": 6, "second": 4])
        }

        @Test("the original AdamW gives the numbers of the DVP release, which PyTorch's does not")
        func original() throws {
            func run(_ kind: OptimizerKind) throws -> [Float] {
                let parameter = try Tensor([1] as [Float])
                try parameter.requireGradient()
                let optimizer = Optimizer(kind, [ParameterGroup([NamedTensor("p", parameter)], decay: 0.01)])
                return try [0.5, -0.25, 0, 0].map { slope in
                    try parameter.setGradient(Tensor([Float(slope)]))
                    try optimizer.step(rate: 0.1)
                    return try Float(parameter.item())
                }
            }
            let original = try run(.adamWOriginal(beta1: 0.9, beta2: 0.98))
            let current = try run(.adamW(beta1: 0.9, beta2: 0.98))
            for (found, expected) in zip(original, [0.8991000140, 0.8715168569, 0.8499183492, 0.8320074271]) {
                #expect(abs(Double(found) - expected) < 2e-7)
            }
            for (found, expected) in zip(current, [0.8990000020, 0.8713902213, 0.8497711005, 0.8318432460]) {
                #expect(abs(Double(found) - expected) < 2e-7)
            }
        }

        @Test("a restored optimiser goes on bit by bit", arguments: kinds)
        func restoring(_ name: String, _ kind: OptimizerKind) throws {
            let whole = try Course()
            let unbroken = Optimizer(kind, whole.groups)
            for step in 0..<3 { try whole.step(unbroken, step) }
            let saved = unbroken.state()
            let copies = try saved.tensors.map { NamedTensor($0.key, try $0.tensor.clone()) }
            let resumed = try Course()
            for (mine, theirs) in zip(resumed.parameters, whole.parameters) {
                try withoutGradients { try mine.copy(from: theirs) }
            }
            let again = Optimizer(kind, resumed.groups)
            try again.restore(tensors: copies, steps: saved.steps)
            for step in 3..<6 {
                try whole.step(unbroken, step)
                try resumed.step(again, step)
            }
            for (mine, theirs) in zip(resumed.parameters, whole.parameters) {
                #expect(try mine.bytes() == theirs.bytes(), "\(name)")
            }
            // What was given to restore belongs to the caller still.
            for (copy, now) in zip(copies, again.state().tensors) { #expect(copy.tensor !== now.tensor) }
        }

        @Test("a state that does not fit is refused and changes nothing")
        func mismatch() throws {
            let course = try Course()
            let optimizer = Optimizer(.adamW(), course.groups)
            try course.step(optimizer, 0)
            let (tensors, steps) = optimizer.state()
            func refused(_ tensors: [NamedTensor], _ steps: [String: Int]) {
                #expect(throws: VQAError.self) { try optimizer.restore(tensors: tensors, steps: steps) }
            }
            refused(Array(tensors.dropLast()), steps)
            refused(tensors + [NamedTensor("mean.third", tensors[0].tensor)], steps)
            refused(tensors, steps.merging(["third": 1]) { a, _ in a })
            refused(tensors, steps.mapValues { _ in -1 })
            refused(try tensors.map { NamedTensor($0.key, try $0.tensor.reshaped([-1, 1])) }, steps)
            refused(tensors, [:])
            #expect(optimizer.state().steps == ["first": 1, "second": 1])
            try optimizer.restore(tensors: [], steps: [:])
            #expect(optimizer.state().tensors.isEmpty)
        }

        @Test("clipping equals clip_grad_norm_")
        func clipping() throws {
            let json = try fixture("training.json").required("clip")
            for golden in try #require(json["cases"]?.array) {
                let slopes = try #require(json["slopes"]?.array).map { try $0.tensor() }
                let parameters = try slopes.map { try Tensor.zeros($0.shape) }
                for (parameter, slope) in zip(parameters, slopes) { try parameter.setGradient(slope) }
                let named = parameters.enumerated().map { NamedTensor("\($0)", $1) }
                let optimizer = Optimizer(.sgd(), [ParameterGroup(named)])
                let norm = try optimizer.clipGradients(to: #require(golden["limit"]?.double))
                #expect(abs(try norm - #require(golden["norm"]?.double)) < 1e-5)
                for (parameter, expected) in zip(parameters, try #require(golden["clipped"]?.array)) {
                    try expectClose(#require(try parameter.gradient()), expected.tensor(), "clipped")
                }
                let now = try optimizer.clipGradients()
                #expect(now <= norm + 1e-6)
                try optimizer.clearGradients()
                #expect(try optimizer.clipGradients(to: 1) == 0)
            }
        }

        @Test("a gradient in another memory order, or one that repeats a number, is read right")
        func strides() throws {
            let shape = [3, 2]
            func run(_ slope: Tensor) throws -> [Float] {
                let parameter = try Tensor.normal(shape, Generator(seed: 1))
                let optimizer = Optimizer(.adamW(), [ParameterGroup([NamedTensor("p", parameter)])])
                for _ in 0..<3 {
                    try parameter.setGradient(slope)
                    try optimizer.step(rate: 0.1)
                }
                return try parameter.floats()
            }
            let slope = try Tensor.normal([2, 3], Generator(seed: 2)).transposed(0, 1)
            #expect(try run(slope) == run(slope.contiguous()))
            let one = try Tensor([0.5] as [Float]).expanded(shape)
            #expect(try run(one) == run(one.contiguous()))
            // A parameter may itself be in another order, or have gaps, which is refused.
            let turned = try Tensor.normal([2, 3], Generator(seed: 1)).transposed(0, 1)
            let plain = try turned.contiguous().clone()
            for parameter in [turned, plain] {
                let optimizer = Optimizer(.adam(), [ParameterGroup([NamedTensor("p", parameter)])])
                for _ in 0..<2 {
                    try parameter.setGradient(slope)
                    try optimizer.step(rate: 0.1)
                }
            }
            #expect(try turned.floats() == plain.floats())
            let gaps = try Tensor.zeros([4, 4]).sliced(1, 0, 4, step: 2)
            try gaps.setGradient(.ones([4, 2]))
            expectError(.shape) {
                try Optimizer(.sgd(), [ParameterGroup([NamedTensor("p", gaps)])]).step(rate: 1)
            }
        }

        @Test("the loss scaler halves and skips on overflow, doubles after its interval")
        func scaler() throws {
            let parameter = try Tensor([1, 1] as [Float])
            try parameter.requireGradient()
            let optimizer = Optimizer(.sgd(), [ParameterGroup([NamedTensor("p", parameter)])])
            var scaler = LossScaler(scale: 1024, interval: 2)
            func step(_ factor: Double) throws -> Bool {
                try optimizer.clearGradients()
                try scaler.scaled((parameter * factor).sum()).backward()
                return try scaler.step(optimizer, rate: 0.5, clip: 1)
            }
            #expect(try step(0.25))
            #expect(
                try parameter.floats() == [0.875, 0.875] && scaler.scale == 1024 && scaler.finiteSteps == 1)
            #expect(try !step(.infinity))
            #expect(try !step(.nan))
            #expect(
                try parameter.floats() == [0.875, 0.875] && scaler.scale == 256 && scaler.finiteSteps == 0)
            #expect(try step(0.25))
            #expect(try step(0.25))
            #expect(scaler.scale == 512 && scaler.finiteSteps == 0)
            var resumed = LossScaler(scale: 512, interval: 2, finiteSteps: 1)
            try optimizer.clearGradients()
            #expect(try resumed.step(optimizer, rate: 0.5))
            #expect(resumed.scale == 1024)
        }
    }

    @Suite struct Schedules {
        @Test("polynomial decay gives the numbers of the DVP release")
        func polynomial() {
            let schedule = Schedule(rate: 1e-4, warmup: 10, total: 100, decay: .linear)
            let expected = [
                0: 0, 1: 1e-5, 9: 9e-5, 10: 1e-4, 11: 9.8889e-5, 50: 5.5556e-5, 99: 1.1111e-6, 100: 0,
            ]
            for (step, rate) in expected { #expect(abs(schedule.rate(at: step) - rate) < 5e-10) }
            #expect(schedule.rate(at: 1000) == 0)
            let square = Schedule(rate: 2, warmup: 0, total: 4, decay: .polynomial(power: 2, end: 0.1))
            #expect(abs(square.rate(at: 2) - 2 * (0.9 * 0.25 + 0.1)) < 1e-12 && square.rate(at: 0) == 2)
        }

        @Test("cosine and constant decay, and settings without sense")
        func others() {
            let cosine = Schedule(rate: 1, warmup: 2, total: 10, decay: .cosine)
            #expect(cosine.rate(at: 1) == 0.5 && cosine.rate(at: 2) == 1)
            #expect(
                abs(cosine.rate(at: 6) - 0.5) < 1e-12 && abs(cosine.rate(at: 4) - 0.8535533905932737) < 1e-12)
            #expect(abs(cosine.rate(at: 10)) < 1e-12 && abs(cosine.rate(at: 99)) < 1e-12)
            let constant = Schedule(rate: 3, warmup: 4, total: 0, decay: .constant)
            #expect(constant.rate(at: 2) == 1.5 && constant.rate(at: 400) == 3)
            let strange = Schedule(rate: 1, warmup: .min, total: .max, decay: .linear)
            #expect(strange.rate(at: .max).isFinite)
            #expect(Schedule(rate: 1, warmup: .max, total: .min, decay: .cosine).rate(at: .min).isFinite)
        }
    }
}
