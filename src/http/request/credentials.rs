//! The credentials of a request: basic (RFC 7617) and bearer (RFC 6750).

use super::Request;

/// Fields that tell who the client is, or give its rights. A cache of responses and the debug page know them.
pub(crate) const CREDENTIALS: &[&str] = &[
    "authorization",
    "cookie",
    "proxy-authorization",
    "client-cert",
    "client-cert-chain",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-forwarded-tls-client-cert-info",
    "x-client-cert",
    "ssl-client-cert",
    "x-ssl-client-cert",
    "x-ssl-client-s-dn",
    "x-ssl-client-verify",
    "x-amzn-mtls-clientcert",
    "x-amzn-mtls-clientcert-leaf",
    "x-amzn-mtls-clientcert-subject",
    "x-amzn-mtls-clientcert-serial-number",
    "x-arr-clientcert",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-access-token",
    "x-remote-user",
    "remote-user",
    "x-user",
    "x-webauth-user",
    "x-authentik-username",
    "x-authentik-email",
    "x-authentik-uid",
    "x-authentik-groups",
    "x-pomerium-jwt-assertion",
    "x-pomerium-claim-email",
    "x-ms-client-principal",
    "x-ms-client-principal-id",
    "x-ms-client-principal-name",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-data",
    "x-amzn-oidc-identity",
    "x-amzn-oidc-accesstoken",
    "cf-access-jwt-assertion",
    "cf-access-authenticated-user-email",
    "tailscale-user-login",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "x-csrf-token",
    "x-xsrf-token",
];

impl<'a> Request<'a> {
    /// The name and the password in `Authorization: Basic` (RFC 7617). `None` if the field is missing, is there twice, or is
    /// not valid. The padding of the base64 may be missing, as some clients omit it, but not a part of it (RFC 4648 section 4). They
    /// are checked by nothing yet; see [`BasicAuth`](crate::layers::BasicAuth).
    pub fn basic_auth(&self) -> Option<(String, String)> {
        let bytes = decode(self.credentials("basic")?)?;
        let text = String::from_utf8(bytes).ok()?;
        // RFC 7617 section 2.
        if text.contains(|c: char| c.is_ascii_control()) {
            return None;
        }
        let (name, password) = text.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    }

    /// The token in `Authorization: Bearer` (RFC 6750). `None` if the field is missing, is there twice, or is not valid. It is
    /// checked by nothing yet; see [`BearerAuth`](crate::layers::BearerAuth).
    pub fn bearer_token(&self) -> Option<&'a str> {
        let token = self.credentials("bearer")?;
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        token.bytes().all(is_valid).then_some(token)
    }

    /// What follows the name of the scheme.
    fn credentials(&self, scheme: &str) -> Option<&'a str> {
        let mut fields = self.header_all("authorization");
        let (field, None) = (fields.next()?, fields.next()) else {
            return None;
        };
        let (own, rest) = std::str::from_utf8(field).ok()?.split_once(' ')?;
        let rest = rest.trim_start_matches(' ');
        (own.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
    }
}

/// Decodes base64 (RFC 4648 section 4). The padding is complete or missing, and bits that belong to no byte are 0.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if padding > 2 || padding > 0 && text.len() % 4 != 0 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut value, mut bits) = (0_u32, 0);
    for digit in digits.bytes() {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        value = value << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((value >> bits) as u8);
            value &= (1 << bits) - 1;
        }
    }
    // What is left belongs to no byte.
    (value == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn base64_of_rfc_4648() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zg", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg==", b"foob"),
            ("Zm9vYmE=", b"fooba"),
            ("Zm9vYmFy", b"foobar"),
            ("+/+/", b"\xfb\xff\xbf"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
        }
        for bad in [
            "Z",
            "Zg===",
            "Zg=",
            "Zm9v=",
            "Zm9v==",
            "Zm8==",
            "=",
            "==",
            "====",
            "Zh==",
            "Zm9=",
            "Z!==",
            "Zg==Zg==",
            "Zm9v=Zm9v",
            "-_-_",
            " Zg==",
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
