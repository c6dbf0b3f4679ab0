//! `timesink serve`, as typed.

use std::net::SocketAddr;

use clap::Args;

/// `timesink serve`
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// The store to show: a folder, or the address of a server
    #[arg(long, value_name = "URL")]
    pub store: String,
    /// Where to listen; all who can connect can read
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4041")]
    pub listen: SocketAddr,
    /// Another name or address by which the page may be asked for, without a port, beside localhost
    /// and its addresses (may be repeated)
    #[arg(long = "host", value_name = "NAME", value_parser = parse_host)]
    pub hosts: Vec<String>,
}

/// A name as the header `Host` has it.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let is_address = text.starts_with('[') && text.ends_with(']');
    let is_name = !text.is_empty() && !text.contains(['[', ']', ':']);
    let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
    match is_plain && (is_name || is_address) {
        true => Ok(text.to_owned()),
        false => Err(
            "expected a name without scheme and port, such as profiles.example or [fd00::1]"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host is a name or an address, and nothing around it.
    #[test]
    fn hosts_are_names() {
        for good in ["a.example", "10.0.0.1", "[fd00::1]"] {
            assert_eq!(parse_host(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "http://a",
            "a:80",
            "a/",
            "a b",
            "fd00::1",
            "[fd00::1]:80",
        ] {
            assert!(parse_host(bad).is_err(), "{bad}");
        }
    }
}
