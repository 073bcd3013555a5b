//! The statements in `storage/queries`: one for both backends in `common/`, or one for each in `sqlite/` and `postgres/`.
//!
//! Each file begins with a comment that says what the statement does and which index serves it.

/// A statement in the dialect of each backend; empty if a backend has nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

/// Returns a statement without its leading comment, which the database need not parse each time.
pub(crate) const fn body(file: &'static str) -> &'static str {
    let mut rest = file;
    loop {
        let bytes = rest.as_bytes();
        if bytes.len() < 2 || bytes[0] != b'-' || bytes[1] != b'-' {
            return rest;
        }
        let mut at = 0;
        while at < bytes.len() && bytes[at] != b'\n' {
            at += 1;
        }
        rest = if at < bytes.len() { rest.split_at(at + 1).1 } else { "" };
    }
}

/// The text of a statement, by directory and name.
macro_rules! sql {
    ($directory:literal, $name:literal) => {
        $crate::query::body(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/queries/",
            $directory,
            "/",
            $name,
            ".sql"
        )))
    };
}

/// A statement for both backends.
macro_rules! common {
    ($name:literal) => {
        $crate::query::Query {
            sqlite: $crate::query::sql!("common", $name),
            postgres: $crate::query::sql!("common", $name),
        }
    };
}

/// A statement with a form for each backend.
macro_rules! each_backend {
    ($name:literal) => {
        $crate::query::Query {
            sqlite: $crate::query::sql!("sqlite", $name),
            postgres: $crate::query::sql!("postgres", $name),
        }
    };
}

/// A statement that SQLite, with one writer and one clock, does not need.
macro_rules! postgres_only {
    ($name:literal) => {
        $crate::query::Query { sqlite: "", postgres: $crate::query::sql!("postgres", $name) }
    };
}

/// A statement of PostgreSQL, as text.
macro_rules! postgres {
    ($name:literal) => {
        $crate::query::sql!("postgres", $name)
    };
}

/// A statement of SQLite, as text. Its arguments are `?1`, `?2`.
macro_rules! sqlite {
    ($name:literal) => {
        $crate::query::sql!("sqlite", $name)
    };
}

pub(crate) use {common, each_backend, postgres, postgres_only, sql, sqlite};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr};

    use super::body;
    use crate::{Options, open};

    fn files(directory: &str) -> Vec<(String, &'static str)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries").join(directory);
        let read = |path: PathBuf| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text: &'static str = std::fs::read_to_string(path).expect("read").leak();
            (name, text)
        };
        std::fs::read_dir(directory).expect("listed").map(|entry| read(entry.expect("an entry").path())).collect()
    }

    fn sources(directory: &Path, text: &mut String) {
        for entry in std::fs::read_dir(directory).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, text);
            } else {
                text.push_str(&std::fs::read_to_string(path).expect("read"));
            }
        }
    }

    #[test]
    fn every_statement_is_described_and_used() {
        let mut code = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
        let [common, sqlite, postgres] = ["common", "sqlite", "postgres"].map(files);
        for (files, macros) in [
            (&common, &["common"][..]),
            (&sqlite, &["sqlite", "each_backend"]),
            (&postgres, &["postgres", "each_backend", "postgres_only"]),
        ] {
            for (name, text) in files {
                assert!(text.starts_with("-- ") && body(text).len() < text.len(), "{name} begins with a comment");
                assert!(!body(text).is_empty() && !body(text).starts_with("--"), "{name} has a statement");
                let is_used = macros.iter().any(|name_of| code.contains(&format!("{name_of}!(\"{name}\")")));
                assert!(is_used, "{name} is used by {macros:?}");
            }
        }
        let names = |list: &[(String, &str)]| list.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
        assert!(names(&common).is_disjoint(&names(&postgres)), "a statement is common or one of each backend");
        assert!(names(&common).is_disjoint(&names(&sqlite)), "a statement is common or one of each backend");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_statement_is_prepared_on_sqlite() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("brotr.db");
        open(&format!("sqlite://{}", path.display()), Options::default()).await.expect("opened").close().await;
        let connection = rusqlite::Connection::open(&path).expect("opened");
        for (name, text) in files("common").into_iter().chain(files("sqlite")) {
            for statement in body(text).split(";\n").filter(|statement| !statement.trim().is_empty()) {
                connection.prepare(statement).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_statement_is_prepared_on_postgresql() {
        let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
        let url = server.database("queries").expect("a database");
        open(&url, Options::default()).await.expect("opened").close().await;
        let mut connection = sqlx::PgConnection::connect(&url).await.expect("connected");
        for (name, text) in files("common").into_iter().chain(files("postgres")) {
            for statement in body(text).split(";\n").filter(|statement| !statement.trim().is_empty()) {
                let statement = AssertSqlSafe(statement).into_sql_str();
                (&mut connection).prepare(statement).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
}
