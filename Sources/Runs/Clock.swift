#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Seconds since 1970 with their fraction.
func wallTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Whole seconds since 1970.
public func wallSeconds() -> Int { Int(wallTime()) }

/// Seconds on a clock that never jumps, whatever happens to the date.
func steadyTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// `2025-01-31T12:00:00Z`.
public func timestampUTC(_ seconds: Int = wallSeconds()) -> String {
    var time = time_t(seconds)
    var parts = tm()
    gmtime_r(&time, &parts)
    return "\(date(parts, "-"))T\(clock(parts, ":"))Z"
}

/// `20250131-120000` in local time, for names that people read.
func folderTimestamp(_ seconds: Int = wallSeconds()) -> String {
    var time = time_t(seconds)
    var parts = tm()
    localtime_r(&time, &parts)
    return "\(date(parts, ""))-\(clock(parts, ""))"
}

private func date(_ parts: tm, _ mark: String) -> String {
    "\(1900 + Int(parts.tm_year))\(mark)\(twoDigits(Int(parts.tm_mon) + 1))\(mark)\(twoDigits(Int(parts.tm_mday)))"
}

private func clock(_ parts: tm, _ mark: String) -> String {
    [parts.tm_hour, parts.tm_min, parts.tm_sec].map { twoDigits(Int($0)) }.joined(separator: mark)
}

func twoDigits(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }

/// Measures time across restarts: starts at what earlier processes of the same run have used.
public struct Stopwatch: Sendable {
    private let start: Double

    /// - Parameter alreadyElapsed: seconds, from the checkpoint that the run goes on from.
    public init(alreadyElapsed: Double = 0) { start = steadyTime() - alreadyElapsed }

    /// Seconds so far.
    public var seconds: Double { steadyTime() - start }
}

/// `value` with a fixed number of decimals, as people read numbers: `decimal(3.14159, 2)` is `3.14`.
public func decimal(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return value.isNaN ? "nan" : "\(value)" }
    let digits = min(max(digits, 0), 9)
    let scale = (0..<digits).reduce(1.0) { scale, _ in scale * 10 }
    let scaled = (abs(value) * scale).rounded()
    // Beyond 2^53 the decimals mean nothing.
    guard scaled < 9e15 else { return "\(value)" }
    let whole = Int(scaled)
    let sign = value < 0 && whole != 0 ? "-" : ""
    guard digits > 0 else { return sign + String(whole) }
    let text = String(whole)
    let padded = String(repeating: "0", count: max(0, digits + 1 - text.count)) + text
    return "\(sign)\(padded.dropLast(digits)).\(padded.suffix(digits))"
}

/// `45s`, `2:30`, `1:02:03` or `3d 4h`.
public func durationText(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e9 else { return "?" }
    let total = Int(max(0, seconds).rounded())
    let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60)
    if total < 60 { return "\(rest)s" }
    if hours == 0 { return "\(minutes):\(twoDigits(rest))" }
    if hours < 48 { return "\(hours):\(twoDigits(minutes)):\(twoDigits(rest))" }
    return "\(hours / 24)d \(hours % 24)h"
}
