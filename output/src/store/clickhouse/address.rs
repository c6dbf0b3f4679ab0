//! The address of a store in ClickHouse:
//! `clickhouse://[user[:password]@]host:port[,host:port…]/database[?cluster=NAME]`.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::SCHEME;
use crate::store::StoreError;

/// What an address says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Each with its HTTP port, in the order of the address.
    pub(super) hosts: Vec<String>,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) database: String,
    /// The name that the servers' configuration has for all of them.
    pub(super) cluster: Option<String>,
}

/// Without the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// # Errors
    /// When `url` is none, in words that do not repeat it, since it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let rest = url.strip_prefix(SCHEME);
        let rest = rest.ok_or_else(|| refused("it does not begin with `clickhouse://`"))?;
        let (rest, cluster) = match rest.split_once('?') {
            Some((rest, option)) => (rest, Some(cluster(option)?)),
            None => (rest, None),
        };
        let (authority, database) = rest
            .rsplit_once('/')
            .ok_or_else(|| refused("there is no `/` and database after the hosts"))?;
        let (account, hosts) = match authority.rsplit_once('@') {
            Some((account, hosts)) => (account, hosts),
            None => ("default", authority),
        };
        let (user, password) = account.split_once(':').unwrap_or((account, ""));
        let hosts: Vec<String> = hosts.split(',').map(host).collect::<Result<_, _>>()?;
        if hosts.len() > 1 && cluster.is_none() {
            return Err(refused(
                "of several hosts each would answer with its own part alone; name the cluster \
                 that they form with `?cluster=NAME`",
            ));
        }
        Ok(Self {
            hosts,
            user: decoded(user)?,
            password: decoded(password)?,
            database: name(database, "database")?,
            cluster,
        })
    }
}

fn host(text: &str) -> Result<String, StoreError> {
    let is_host = |host: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        !host.is_empty() && host.chars().all(is_plain)
    };
    match text.rsplit_once(':') {
        Some((name, port)) if is_host(name) && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err(refused("a host is not of the form `host:port`")),
    }
}

fn cluster(option: &str) -> Result<String, StoreError> {
    let value = option.strip_prefix("cluster=");
    name(
        value.ok_or_else(|| refused("after `?` only `cluster=NAME` is known"))?,
        "cluster",
    )
}

/// A name that can stand in SQL as it is.
fn name(text: &str, of: &str) -> Result<String, StoreError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || !text.chars().all(is_plain) {
        return Err(refused(&format!(
            "the name of the {of} is not made of letters, digits, `-`, `_` and `.`"
        )));
    }
    Ok(text.to_owned())
}

fn decoded(text: &str) -> Result<String, StoreError> {
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_invalid| refused("the user or the password is not UTF-8"))?;
    if text.contains(|c: char| c.is_control()) {
        return Err(refused("the user or the password has a control character"));
    }
    Ok(text.into_owned())
}

fn refused(why: &str) -> StoreError {
    StoreError::Refused(format!(
        "failed to read the address of the store: {why}; it is \
         `clickhouse://[user[:password]@]host:port[,host:port…]/database[?cluster=NAME]`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Result<Address, StoreError> {
        Address::parse(&format!("{SCHEME}{rest}"))
    }

    #[test]
    fn every_part_is_read() {
        // Hosts, account, database and cluster come out, and what is left out has its default.
        let all = parse("me:p%40ss%2F@a:8123,[::1]:8124/db-1?cluster=two").unwrap();
        assert_eq!(all.hosts, ["a:8123", "[::1]:8124"]);
        assert_eq!((&*all.user, &*all.password), ("me", "p@ss/"));
        assert_eq!(
            (&*all.database, all.cluster.as_deref()),
            ("db-1", Some("two"))
        );
        let least = parse("box:1/x").unwrap();
        assert_eq!((&*least.user, &*least.password), ("default", ""));
        assert_eq!(least.cluster, None);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        // Each wrong part is refused, and no message has the password.
        for wrong in [
            "",
            "a:1",
            "a:1/",
            "a/x",
            ":1/x",
            "a:70000/x",
            "a:1,/x",
            "a:1,b:1/x",
            "a b:1/x",
            "a:1/x`y",
            "a:1/x?cluster=",
            "a:1/x?cluster=a'b",
            "a:1/x?shard=y",
            "me:secret@/x",
            "me:secret%0a@a:1/x",
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{wrong}: {error}");
        }
        assert!(Address::parse("http://a:1/x").is_err());
    }

    #[test]
    fn debugging_does_not_tell_the_password() {
        // The password stays out of what a person may paste into a report.
        let address = parse("me:secret@a:1/x").unwrap();
        assert!(!format!("{address:?}").contains("secret"));
    }
}
