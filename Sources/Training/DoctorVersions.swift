/// The version of this program.
public let programVersion = "0.1.0"
