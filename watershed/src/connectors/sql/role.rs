use super::super::postgres::Tls;

/// How values reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Prepared statements with bound values: PostgreSQL.
    Extended,
    /// One text with quoted values, and text back: Redshift, which lacks the catalogue tables
    /// that a prepared statement's types are looked up in.
    Simple,
}

/// What a pipeline expects of one of its databases.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// What the database is called in messages: `Sierra`.
    pub name: &'static str,
    /// Schema name under which an embedded file is attached, so that one SQL text serves both.
    pub schema: Option<&'static str>,
    /// How values reach the server.
    pub protocol: Protocol,
    /// TLS when the URL does not say.
    pub tls: Tls,
}
