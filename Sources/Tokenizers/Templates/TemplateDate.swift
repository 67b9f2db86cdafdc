import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A date and time of day, for templates that write today's date into the prompt.
public struct TemplateDate: Sendable, Equatable {
    /// The year of the common era.
    public let year: Int
    /// 1 to 12.
    public let month: Int
    /// 1 to 31.
    public let day: Int
    /// 0 to 23.
    public let hour: Int
    /// 0 to 59.
    public let minute: Int
    /// 0 to 60.
    public let second: Int

    /// A moment of the Gregorian calendar.
    ///
    /// - Throws: `VQAError` when there is no such day or time, or the year is not between 1 and 9999.
    public init(year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0) throws {
        guard (1...9999).contains(year), (1...12).contains(month),
            (1...Self.daysInMonth(month, year)).contains(day), (0...23).contains(hour),
            (0...59).contains(minute), (0...60).contains(second)
        else {
            throw VQAError(
                "cannot use the date", at: "\(year)-\(month)-\(day) \(hour):\(minute):\(second)",
                because: "the calendar has no such moment")
        }
        (self.year, self.month, self.day) = (year, month, day)
        (self.hour, self.minute, self.second) = (hour, minute, second)
    }

    /// Now, in the time zone of the machine.
    public static func current() throws -> TemplateDate {
        var seconds = time(nil)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil else {
            throw VQAError("cannot tell the date", because: systemReason(), kind: .failure)
        }
        return try TemplateDate(
            year: Int(parts.tm_year) + 1900, month: Int(parts.tm_mon) + 1, day: Int(parts.tm_mday),
            hour: Int(parts.tm_hour), minute: Int(parts.tm_min), second: Int(parts.tm_sec))
    }

    private static func daysInMonth(_ month: Int, _ year: Int) -> Int {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        return [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
    }

    // MARK: Format

    private var dayOfYear: Int { day + (1..<month).reduce(0) { $0 + Self.daysInMonth($1, year) } }

    /// Days since Sunday.
    private var weekday: Int {
        let before = year - 1
        return (before * 365 + before / 4 - before / 100 + before / 400 + dayOfYear) % 7
    }

    /// The text of a format of C's `strftime`, in English. Dates and times are known; time zones and week numbers are not.
    func text(_ format: Text) throws -> String {
        var result = ""
        var i = 0
        while i < format.count {
            guard format[i] == "%" else {
                result.unicodeScalars.append(format[i])
                i += 1
                continue
            }
            i += 1
            // A hyphen leaves out the leading zero.
            let pads = i >= format.count || format[i] != "-"
            if !pads { i += 1 }
            guard i < format.count, let part = part(format[i], pads: pads) else {
                throw TemplateFault("a date format has an unknown sign after \"%\"")
            }
            result += part
            i += 1
        }
        return result
    }

    private func part(_ sign: Unicode.Scalar, pads: Bool) -> String? {
        func padded(_ value: Int, _ width: Int = 2, with mark: String = "0") -> String {
            let digits = String(value)
            return pads ? String(repeating: mark, count: max(0, width - digits.count)) + digits : digits
        }
        switch sign {
        case "Y": return String(year)
        case "y": return padded(year % 100)
        case "m": return padded(month)
        case "d": return padded(day)
        case "e": return padded(day, with: " ")
        case "H": return padded(hour)
        case "I": return padded(hour % 12 == 0 ? 12 : hour % 12)
        case "M": return padded(minute)
        case "S": return padded(second)
        case "j": return padded(dayOfYear, 3)
        case "p": return hour < 12 ? "AM" : "PM"
        case "B": return Self.months[month - 1]
        case "b", "h": return String(Self.months[month - 1].prefix(3))
        case "A": return Self.weekdays[weekday]
        case "a": return String(Self.weekdays[weekday].prefix(3))
        case "w": return String(weekday)
        case "F": return "\(year)-\(padded(month))-\(padded(day))"
        case "T": return "\(padded(hour)):\(padded(minute)):\(padded(second))"
        case "R": return "\(padded(hour)):\(padded(minute))"
        case "D": return "\(padded(month))/\(padded(day))/\(padded(year % 100))"
        case "n": return "\n"
        case "t": return "\t"
        case "%": return "%"
        default: return nil
        }
    }

    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
        "November",
        "December",
    ]
    private static let weekdays = [
        "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    ]
}
