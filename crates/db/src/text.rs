//! What is told of a statement, made once for each that diesel's types determine.

use std::any::TypeId;
use std::sync::Arc;

use opentelemetry::metrics::BoundHistogram;
use telemetry::{KeyValue, Memo, semconv};

use crate::metrics;

/// How long a database's statements took, by their summaries, which determine their labels.
type Durations = Memo<String, BoundHistogram<f64>>;

/// What is told of a statement.
pub(crate) struct Text {
    /// The span's name: `SELECT users`.
    pub(crate) summary: String,
    /// Whether SQLite's write lock is needed.
    pub(crate) writes: bool,
    /// Whether it reads a row by its key: a matter of microseconds.
    pub(crate) by_key: bool,
    /// Whether it adds a row, or changes those that a condition names.
    pub(crate) is_of_a_row: bool,
    attributes: Vec<KeyValue>,
    /// So many of the attributes are the metric's too.
    labels: usize,
    durations: Arc<Durations>,
}

impl Text {
    /// The attributes of the span.
    pub(crate) fn attributes(&self) -> &[KeyValue] {
        &self.attributes
    }

    /// The attributes of the metric.
    pub(crate) fn labels(&self) -> &[KeyValue] {
        &self.attributes[..self.labels]
    }

    /// How long those took that did not fail.
    pub(crate) fn duration(&self) -> BoundHistogram<f64> {
        self.durations.get(self.summary.as_str(), || metrics::DURATION.bind(self.labels()))
    }

    fn new(target: &Target, sql: &str, shown: bool) -> Self {
        let operation = sql.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty()).unwrap_or_default();
        let operation = operation.to_ascii_uppercase();
        let table = match operation.as_str() {
            "SELECT" | "DELETE" => table_after(sql, " from "),
            "INSERT" => table_after(sql, " into "),
            "UPDATE" => table_after(sql, "update "),
            _ => None,
        };
        let summary = match &table {
            Some(table) => format!("{operation} {table}"),
            None => operation.clone(),
        };
        let reads = ["SELECT", "EXPLAIN", "SAVEPOINT", "RELEASE", "COMMIT", "ROLLBACK"];
        let writes = !reads.contains(&operation.as_str());
        let by_key = operation == "SELECT" && is_by_key(sql);
        let is_of_a_row = operation == "INSERT" || operation == "UPDATE" && is_by_key(sql);
        let mut attributes = vec![
            KeyValue::new(semconv::DB_SYSTEM_NAME, target.system),
            KeyValue::new(semconv::DB_NAMESPACE, Arc::clone(&target.namespace)),
            KeyValue::new(semconv::DB_OPERATION_NAME, Arc::<str>::from(operation)),
        ];
        attributes.extend(table.map(|table| KeyValue::new(semconv::DB_COLLECTION_NAME, Arc::<str>::from(table))));
        let labels = attributes.len();
        attributes.push(KeyValue::new(semconv::DB_QUERY_SUMMARY, Arc::<str>::from(summary.as_str())));
        attributes.extend(shown.then(|| KeyValue::new(semconv::DB_QUERY_TEXT, Arc::<str>::from(sql))));
        if let Some((address, port)) = &target.server {
            attributes.push(KeyValue::new(semconv::SERVER_ADDRESS, Arc::clone(address)));
            attributes.push(KeyValue::new(semconv::SERVER_PORT, i64::from(*port)));
        }
        Self { summary, writes, by_key, is_of_a_row, attributes, labels, durations: Arc::clone(&target.durations) }
    }
}

/// Whether a statement has a condition and nothing that needs more than a row or two: a pattern, an order, a sum.
fn is_by_key(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    let more = [" like ", " order by ", " limit ", " join ", "count(", "min(", "exists"];
    sql.contains(" where ") && !more.iter().any(|word| sql.contains(word))
}

/// The first table named after `word`: `"users"`, `public.users`, `("users" INNER JOIN ..`.
fn table_after(sql: &str, word: &str) -> Option<String> {
    let start = sql.to_ascii_lowercase().find(word)? + word.len();
    let name = sql[start..].trim_start_matches(['(', ' ']).chars();
    let name = name.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '`'));
    let name: String = name.filter(|c| !matches!(c, '"' | '`')).collect();
    (!name.is_empty()).then_some(name)
}

/// The database that the connections of a pool lead to, and the statements seen so far.
pub(crate) struct Target {
    pub(crate) system: &'static str,
    pub(crate) namespace: Arc<str>,
    server: Option<(Arc<str>, u16)>,
    texts: Memo<Key, Arc<Text>>,
    durations: Arc<Durations>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// A query whose type determines its text.
    Query(TypeId),
    /// A word of ours.
    Word(&'static str),
}

impl Target {
    pub(crate) fn new(system: &'static str, namespace: Arc<str>, server: Option<(Arc<str>, u16)>) -> Self {
        Self { system, namespace, server, texts: Memo::default(), durations: Arc::default() }
    }

    /// A query; `id` is that of its type, where the type determines its text.
    pub(crate) fn query(&self, id: Option<TypeId>, sql: impl FnOnce() -> String) -> Arc<Text> {
        match id {
            Some(id) => self.texts.get(&Key::Query(id), || Arc::new(Text::new(self, &sql(), true))),
            None => {
                // Written by hand, it may hold values.
                let sql = sql();
                Arc::new(Text::new(self, &sql, !sql.contains('\'')))
            }
        }
    }

    /// A statement of ours without values: `BEGIN`.
    pub(crate) fn word(&self, word: &'static str) -> Arc<Text> {
        self.texts.get(&Key::Word(word), || Arc::new(Text::new(self, word, true)))
    }

    /// Statements whose text may hold values: it is not shown.
    pub(crate) fn batch(&self, sql: &str) -> Arc<Text> {
        Arc::new(Text::new(self, sql, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_summed_up() {
        let target = Target::new(semconv::SQLITE, "user.db".into(), None);
        for (sql, summary, writes) in [
            (r#"SELECT "users"."id" FROM "users" WHERE "users"."id" = $1"#, "SELECT users", false),
            ("SELECT `a`.`id` FROM (`a` INNER JOIN `b` ON `a`.`id` = `b`.`id`)", "SELECT a", false),
            ("select 1", "SELECT", false),
            (r#"INSERT INTO "mall"."users" ("mobile") VALUES ($1)"#, "INSERT mall.users", true),
            ("UPDATE `users` SET `name` = ?", "UPDATE users", true),
            (r#"DELETE FROM "users""#, "DELETE users", true),
            ("with gone as (delete from users returning id) select * from gone", "WITH", true),
            ("BEGIN IMMEDIATE", "BEGIN", true),
            ("ROLLBACK TO SAVEPOINT", "ROLLBACK", false),
            ("", "", true),
        ] {
            let text = target.query(None, || sql.to_owned());
            assert_eq!((text.summary.as_str(), text.writes), (summary, writes), "{sql}");
            assert!(text.attributes().contains(&KeyValue::new(semconv::DB_QUERY_TEXT, sql)), "{sql}");
        }
    }

    #[test]
    fn what_is_read_by_a_key_is_known() {
        let target = Target::new(semconv::SQLITE, "user.db".into(), None);
        for (sql, by_key) in [
            ("SELECT `users`.`id` FROM `users` WHERE (`users`.`id` = ?)", true),
            ("SELECT `users`.`id` FROM `users`", false),
            ("SELECT `users`.`id` FROM `users` WHERE (`users`.`id` < ?) ORDER BY `users`.`id` DESC LIMIT ?", false),
            ("SELECT `users`.`id` FROM `users` WHERE (`users`.`name` LIKE ?)", false),
            ("SELECT count(*) FROM `users` WHERE (`users`.`id` = ?)", false),
            ("UPDATE `users` SET `name` = ? WHERE (`users`.`id` = ?)", false),
        ] {
            assert_eq!(target.query(None, || sql.to_owned()).by_key, by_key, "{sql}");
        }
    }

    #[test]
    fn a_static_query_is_written_once_and_values_never() {
        let target = Target::new(semconv::SQLITE, "user.db".into(), None);
        let id = Some(TypeId::of::<u8>());
        let first = target.query(id, || "SELECT 1".to_owned());
        let again = target.query(id, || unreachable!("it is known"));
        assert!(Arc::ptr_eq(&first, &again));
        let by_hand = target.query(None, || "update users set name = 'secret'".to_owned());
        assert_eq!(by_hand.summary, "UPDATE users");
        assert!(!format!("{:?}", by_hand.attributes()).contains("secret"));
        let batch = target.batch("insert into users values ('secret')");
        assert_eq!(batch.summary, "INSERT users");
        assert!(!format!("{:?}", batch.attributes()).contains("secret"));
    }
}
