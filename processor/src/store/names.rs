//! What the tables consist of, by name: the list that they are compared with, and the one place from which a name may
//! come that is shown to people.

/// What must be there: `kind name: definition`, one a line, as [`schema`](super::schema) reads it from the catalogue.
const EXPECTED: &str = include_str!("schema.txt");

pub(super) fn expected() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXPECTED.lines().filter_map(|line| line.split_once(": "))
}

pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    expected().filter_map(|(object, _)| object.strip_prefix("table "))
}

/// What a sentence of the server names of the tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) table: Option<&'static str>,
    pub(super) column: Option<&'static str>,
}

/// The table and column in a sentence such as `column "text" of relation "messages" does not exist`; nothing but
/// names that are in the list above comes out of it.
pub(super) fn names_in(sentence: &str) -> Names {
    let mut names = Names::default();
    let mut kind = "";
    let words =
        sentence.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        match kind {
            "relation" | "table" | "view" => names.table = names.table.or_else(|| table_named(word)),
            // The column follows its table: `column messages.text does not exist`. There is a column `messages`, too.
            "column"
                if table_named(word).is_some() && words.peek().copied().and_then(column_named).is_some() =>
            {
                names.table = table_named(word);
                continue;
            }
            "column" => names.column = names.column.or_else(|| column_named(word)),
            _ => {}
        }
        kind = word;
    }
    names
}

fn table_named(word: &str) -> Option<&'static str> {
    tables().find(|table| *table == word)
}

fn column_named(word: &str) -> Option<&'static str> {
    let columns = expected().filter_map(|(object, _)| object.strip_prefix("column ")?.split_once('.'));
    columns.map(|(_, column)| column).find(|column| *column == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_tables_are_read_from_a_sentence() {
        let names = |table, column| Names { table, column };
        for (sentence, expected) in [
            ("relation \"messages\" does not exist", names(Some("messages"), None)),
            (
                "column \"text\" of relation \"messages\" does not exist",
                names(Some("messages"), Some("text")),
            ),
            (
                "column dialogs.last_message_at does not exist",
                names(Some("dialogs"), Some("last_message_at")),
            ),
            ("column messages.body_hash does not exist", names(Some("messages"), Some("body_hash"))),
            (
                "column \"messages\" of relation \"partition_progress\" does not exist",
                names(Some("partition_progress"), Some("messages")),
            ),
            ("permission denied for table clients", names(Some("clients"), None)),
            ("column \"+70000000000\" of relation \"Hello\" does not exist", names(None, None)),
            ("the text messages hold is refused", names(None, None)),
        ] {
            assert_eq!(names_in(sentence), expected, "{sentence}");
        }
    }
}
