import CCrypto

/// The SHA-256 of what was added, by libcrypto.
public struct SHA256: ~Copyable {
    private let context: OpaquePointer?

    /// The hash of nothing yet.
    public init() {
        context = EVP_MD_CTX_new()
        EVP_DigestInit_ex(context, EVP_sha256(), nil)
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Goes on with `bytes`; the digest is that of all pieces joined.
    public mutating func add(_ bytes: UnsafeRawBufferPointer) {
        EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }

    /// Adds the UTF-8 of `text` and a zero byte, so that the boundary between two texts counts.
    public mutating func add(_ text: String) {
        Array((text + "\0").utf8).withUnsafeBytes { add($0) }
    }

    /// The digest as 64 lower-case hexadecimal digits.
    public consuming func hexadecimal() -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        EVP_DigestFinal_ex(context, &digest, nil)
        return digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// The digest of one file.
    public static func hexadecimal(ofFile path: String) throws -> String {
        let file = try MappedFile(path)
        var hash = SHA256()
        hash.add(file.bytes)
        withExtendedLifetime(file) {}
        return hash.hexadecimal()
    }

    /// The hash of texts, each ended by a zero byte so that they cannot run into each other.
    public static func hexadecimal(of texts: [String]) -> String {
        var hash = SHA256()
        for text in texts { hash.add(text + "\0") }
        return hash.hexadecimal()
    }
}
