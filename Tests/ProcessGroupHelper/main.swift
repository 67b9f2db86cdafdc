// One of several processes that compute together. It prints what it got, one line a result, or its error. Only tests start
// this program, with the variables of torchrun.
//
// arguments: what to do (`operations`, `training`, `uneven`) and the seconds to wait for the others
import Support
import Torch

func text(_ tensor: Tensor) throws -> String {
    try tensor.floats().map { "\($0)" }.joined(separator: " ")
}

/// Sum, broadcast, gather in several types.
func operations(_ group: ProcessGroup) throws {
    let rank = Float(group.place.rank)
    for type in [DType.float32, .float64, .bfloat16, .int64] {
        let (a, b) = (
            try Tensor([rank + 1, 10 * rank, 2]).to(type), try Tensor([rank, 1]).to(type)
        )
        try group.sum([a, b])
        print("sum \(type): \(try text(a)) | \(try text(b))")
    }
    let told = try Tensor([rank, rank + 0.5])
    try group.broadcast([told], from: 1)
    print("broadcast: \(try text(told))")
    print("gather: \(try text(group.gather(Tensor([rank, -rank]))))")
    try group.barrier()
}

/// The gradient of the mean loss over eight examples, of which each process has its share.
func training(_ group: ProcessGroup) throws {
    let weight = try Tensor.uniform([3, 4], -1, 1, Generator(seed: 5))
    if group.place.rank > 0 { try weight.fill(0) }
    try group.broadcast([weight])
    try weight.requireGradient()
    let examples = try Tensor.uniform([8, 4], -1, 1, Generator(seed: 6))
    let share = try examples.sliced(0, group.place.rank, step: group.place.size)
    try (share.linear(weight).square().sum() / 8).backward()
    guard let gradient = try weight.gradient() else { return }
    try group.sum([gradient])
    print("gradient: \(try text(gradient))")
}

do {
    let arguments = CommandLine.arguments.dropFirst()
    guard let place = try ProcessGroup.Place(of: { environment($0) }) else {
        throw VQAError("cannot start", because: "the variables of torchrun are not set")
    }
    let group = try ProcessGroup(place, timeout: arguments.last.flatMap(Double.init) ?? 20)
    switch arguments.first {
    case "operations": try operations(group)
    case "training": try training(group)
    // All but the first leave; the first is told in time.
    case "uneven": if place.rank == 0 { try group.sum([Tensor([1])]) }
    default: print("unknown")
    }
} catch {
    print("error: \(error)")
}
