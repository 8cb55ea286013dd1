// SPDX-License-Identifier: Apache-2.0

//! A document as it is shown, in text and in JSON: as the original's tool shows it, and with --details more.

use super::body::Body;
use crate::couchbase::collection::Ids;
use crate::couchbase::rev_meta::{RevMeta, SyncWrite, datatype};
use crate::output::Output;
use crate::program::Failure;
use crate::text::{hex, printable, printable_lines};
use couchstore::DocInfoRef;
use serde_json::{Map, Value, json};
use std::io::Write as _;

/// What is shown of the body.
pub(super) enum Content {
    /// It was not asked for.
    NotShown,
    /// There is none, or it cannot be read; with the reason.
    Unreadable(String),
    /// This one.
    Present(Body),
}

/// In which order documents are shown, and so what comes first of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    BySeq,
    ById,
}

/// How documents are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) ids: Ids,
    pub(super) order: Order,
    /// Bodies in hexadecimal, in text.
    pub(super) as_hex: bool,
    /// Bodies also behind a zero byte, in text.
    pub(super) whole: bool,
    /// What the original does not show.
    pub(super) details: bool,
}

/// A document.
pub(super) struct Document<'a> {
    pub(super) info: &'a DocInfoRef<'a>,
    pub(super) content: Content,
    pub(super) style: Style,
}

impl Document<'_> {
    /// As one JSON object.
    pub(super) fn json(&self, output: &mut Output) -> Result<(), Failure> {
        let info = self.info;
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);
        put("seq", info.db_seq.into());
        put("id", self.style.ids.for_programs(info.id).into());
        put("rev", info.rev_seq.into());
        put("content_meta", format!("{:#04x}", info.content_meta).into());
        put("physical_size", info.physical_size.into());
        put("file_offset", info.body_position.into());
        if std::str::from_utf8(self.style.ids.key_of(info.id)).is_err() {
            put("id_not_utf8", true.into());
        }
        if info.deleted {
            put("deleted", reason_of_deletion(info).into());
        }
        if let Some(meta) = RevMeta::of(info) {
            put("cas", meta.cas.to_string().into());
            put(if info.deleted { "delete_time" } else { "expiry" }, meta.expiry.into());
            put("flags", meta.flags.into());
            if let Some(bits) = meta.datatype {
                put("datatype", bits.into());
                put("datatype_as_text", datatype::names(bits).into());
            }
        }
        self.json_body(&mut line);
        if self.style.details {
            self.json_details(&mut line);
        }
        output.json(&line)
    }

    fn json_body(&self, line: &mut Map<String, Value>) {
        let Content::Present(body) = &self.content else {
            line.insert("body".to_owned(), Value::Null);
            return;
        };
        line.insert("body".to_owned(), body.json());
        line.insert("size".to_owned(), body.bytes.len().into());
        if body.snappy {
            line.insert("snappy".to_owned(), true.into());
            line.insert("display".to_owned(), "inflated".into());
        }
        if let Some(xattrs) = body.xattrs_object() {
            line.insert("xattrs".to_owned(), xattrs.into());
        }
    }

    fn json_details(&self, line: &mut Map<String, Value>) {
        line.insert("id_hex".to_owned(), hex(self.info.id).into());
        line.insert("rev_meta".to_owned(), hex(self.info.rev_meta).into());
        let meta = RevMeta::of(self.info).unwrap_or_default();
        if let Some(mode) = meta.conflict_resolution {
            line.insert("conflict_resolution".to_owned(), mode.into());
        }
        if let Some(sync_write) = meta.sync_write {
            line.insert("sync_write".to_owned(), json!(sync_write));
        }
        if let Content::Present(body) = &self.content {
            line.insert("body_base64".to_owned(), body.base64().into());
        }
    }

    /// As a few lines of text.
    pub(super) fn text(&self, output: &mut Output) -> Result<(), Failure> {
        let (info, id) = (self.info, self.style.ids.show(self.info.id));
        match self.style.order {
            Order::BySeq => writeln!(output, "Doc seq: {}\n     id: {id}", info.db_seq)?,
            Order::ById => writeln!(output, "  Doc ID: {id}\n     seq: {}", info.db_seq)?,
        }
        writeln!(output, "     rev: {}", info.rev_seq)?;
        writeln!(output, "     content_meta: {}", content_meta(info.content_meta))?;
        writeln!(output, "     size (on disk): {}", info.physical_size)?;
        writeln!(output, "     file offset: {}", info.body_position)?;
        self.meta_text(output)?;
        if info.deleted {
            writeln!(output, "     doc deleted ({})", reason_of_deletion(info))?;
        }
        match &self.content {
            Content::NotShown => Ok(writeln!(output)?),
            Content::Unreadable(why) => {
                Ok(writeln!(output, "     could not read document body: {}", printable(why.as_bytes()))?)
            }
            Content::Present(body) => self.body_text(output, body),
        }
    }

    fn meta_text(&self, output: &mut Output) -> Result<(), Failure> {
        let (info, details) = (self.info, self.style.details);
        if let Some(meta) = RevMeta::of(info) {
            let time = if info.deleted { "delete_time" } else { "expiry" };
            write!(output, "     cas: {}, {time}: {}, flags: {}", meta.cas, meta.expiry, meta.flags)?;
            if let Some(bits) = meta.datatype {
                write!(output, ", datatype: 0x{bits:02x} ({})", datatype::text(bits))?;
            }
            writeln!(output)?;
            if details && let Some(mode) = meta.conflict_resolution {
                writeln!(output, "     conflict_resolution: {mode}")?;
            }
            if details && let Some(sync_write) = meta.sync_write {
                writeln!(output, "     sync write: {}", show_sync_write(sync_write))?;
            }
        }
        if details {
            writeln!(output, "     rev_meta: {}", hex(info.rev_meta))?;
        }
        Ok(())
    }

    fn body_text(&self, output: &mut Output, body: &Body) -> Result<(), Failure> {
        writeln!(output, "     size: {}", body.bytes.len())?;
        for (name, value) in body.xattrs.iter().flatten() {
            let (name, value) = (printable(name.as_bytes()), printable(value.as_bytes()));
            writeln!(output, "     xattr: {name}: {value}")?;
        }
        write!(output, "     data: {}", if body.snappy { "(snappy) " } else { "" })?;
        if self.style.as_hex {
            write!(output, "{}", hex(&body.bytes))?;
        } else {
            let is_shown = |&byte: &u8| self.style.whole || byte != 0;
            let end = body.bytes.iter().position(|byte| !is_shown(byte)).unwrap_or(body.bytes.len());
            value_text(output, &body.bytes[..end])?;
        }
        Ok(writeln!(output)?)
    }
}

/// Bytes as they are; on a terminal without what it obeys.
pub(super) fn value_text(output: &mut Output, bytes: &[u8]) -> Result<(), Failure> {
    if output.is_terminal() {
        return Ok(write!(output, "{}", printable_lines(bytes))?);
    }
    Ok(output.write_all(bytes)?)
}

/// In text: "0x83", "0x3", and "00" for nothing.
fn content_meta(content_meta: u8) -> String {
    if content_meta == 0 { "00".to_owned() } else { format!("{content_meta:#x}") }
}

fn reason_of_deletion(info: &DocInfoRef<'_>) -> &'static str {
    if RevMeta::of(info).is_some_and(|meta| meta.has_expired) { "TTL" } else { "explicit" }
}

fn show_sync_write(sync_write: SyncWrite) -> String {
    match sync_write {
        SyncWrite::Pending { level } => format!("pending, level: {level}"),
        SyncWrite::Commit { prepared_seq } => format!("commit, prepared seq: {prepared_seq}"),
        SyncWrite::Abort { prepared_seq } => format!("abort, prepared seq: {prepared_seq}"),
        SyncWrite::Other { code } => format!("operation {code}"),
    }
}
