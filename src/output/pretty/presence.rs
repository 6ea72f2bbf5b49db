//! Presence documents and absences as lines for people, and the registered endpoints as a table.

use super::row::{Brief, Detail, Kind, Note, Row};
use super::{Pretty, Style, last_level, text_or_dash};
use crate::output::presence_table::PresenceTable;
use crate::protocol::fields::{Field, Fields};
use crate::protocol::presence::Presence;
use crate::protocol::record::{Absence, Content};

impl Pretty {
    /// Appends an absence as a line, including the line end.
    pub(crate) fn absence(&mut self, absence: &Absence<'_>, out: &mut Vec<u8>) {
        let row = Row {
            kind: Kind::Presence,
            state: "absent".into(),
            style: Style::End,
            parties: (&*absence.from).into(),
            context: None,
            detail: Detail::default(),
        };
        self.line(absence.received, &row, out);
    }

    /// Returns an empty table for documents below the same sphere.
    pub(crate) fn into_presence_table(self) -> PresenceTable {
        PresenceTable::new(self.sphere, self.fitted.map(|fitted| fitted.columns))
    }

    /// Returns the row of a document or its removal. Levels between the sphere and the endpoint are shown.
    pub(super) fn presence_row<'a>(&self, topic: &'a str, presence: &Presence<'a>) -> Row<'a> {
        row(self.sphere.strip(topic).unwrap_or_else(|| last_level(topic)), presence.document.as_ref())
    }
}

/// Returns the row of a document, or of its removal.
pub(super) fn row<'a>(endpoint: &'a str, document: Option<&Fields<'a>>) -> Row<'a> {
    let Some(fields) = document else {
        return Row {
            kind: Kind::Presence,
            state: "gone".into(),
            style: Style::End,
            parties: endpoint.into(),
            context: None,
            detail: Detail::default(),
        };
    };
    let alias = fields.alias.and_then(Field::non_empty_text);
    let comma = if alias.is_some() { ", " } else { "" };
    let address = text_or_dash(fields.address_topic);
    Row {
        kind: Kind::Presence,
        state: text_or_dash(fields.state),
        style: Style::Success,
        parties: endpoint.into(),
        context: fields.app_context.and_then(Field::non_empty_text),
        detail: Detail {
            text: Some(format!("{}{comma}{address}", alias.as_deref().unwrap_or_default()).into()),
            brief: alias.map(|alias| Brief { text: Some(alias), id: None }),
            ..Detail::default()
        },
    }
}

/// Returns what a retained message adds to its line. A retained removal was not received: its document has vanished while
/// the client was disconnected.
pub(super) fn retained_note(content: &Content<'_>) -> Note {
    match content {
        Content::Presence(Presence { document: None, .. }) => Note::WhileDisconnected,
        _ => Note::Retained,
    }
}
