//! The tables: what `schema.sql` says, and with a cluster a table over all servers for each.

use super::address::Address;

/// The tables that one server has.
pub(super) const STACKS: &str = "stacks";
pub(super) const SAMPLES: &str = "samples";
pub(super) const WINDOWS: &str = "windows";
pub(super) const TABLES: [&str; 3] = [STACKS, SAMPLES, WINDOWS];

/// The statements that make what is missing, in order.
pub(super) fn statements(address: &Address) -> Vec<String> {
    let local = include_str!("schema.sql").replace("{database}", &address.database);
    let local = local.split(";\n").map(str::trim);
    let mut statements: Vec<String> = local
        .filter(|sql| !sql.is_empty())
        .map(str::to_owned)
        .collect();
    if let Some(cluster) = &address.cluster {
        let database = &address.database;
        statements.extend(TABLES.map(|table| {
            format!(
                "CREATE TABLE IF NOT EXISTS `{database}`.{table}_all AS `{database}`.{table} \
                 ENGINE = Distributed('{cluster}', '{database}', '{table}')"
            )
        }));
    }
    statements
}

/// The table of one server, which is written to.
pub(super) fn local(address: &Address, table: &str) -> String {
    format!("`{}`.{table}", address.database)
}

/// The table that is read from: that of all servers where there are several.
pub(super) fn all(address: &Address, table: &str) -> String {
    let suffix = if address.cluster.is_some() {
        "_all"
    } else {
        ""
    };
    format!("`{}`.{table}{suffix}", address.database)
}
