"""Keys of TLS that have a password."""


def decrypted(options):
    """The key of the options in PEM, without its password. None: it has none, and the server reads the file."""
    password = options.ssl_keyfile_password
    if password is None:
        return None
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise ValueError("ssl_keyfile_password needs the package cryptography") from None
    path = options.ssl_keyfile or options.ssl_certfile
    with open(path, "rb") as file:
        text = file.read()
    try:
        key = serialization.load_pem_private_key(text, password.encode())
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
