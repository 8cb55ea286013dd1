//! A document as it is shown, in text and in JSON.

use super::body::Body;
use crate::couchbase::collection::Ids;
use crate::couchbase::rev_meta::{RevMeta, SyncWrite, datatype};
use crate::output::Output;
use crate::program::Failure;
use crate::text::{hex, printable, printable_lines};
use couchstore::DocInfoRef;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::Write as _;

/// What is shown of the body.
pub(super) enum Content {
    /// It was not asked for.
    NotShown,
    /// The document has none.
    Absent,
    /// It cannot be read, which has been said.
    Unreadable,
    /// This one.
    Present(Body),
}

/// A document.
pub(super) struct Document<'a> {
    pub(super) info: &'a DocInfoRef<'a>,
    pub(super) ids: Ids,
    pub(super) content: Content,
    pub(super) as_hex: bool,
}

/// One line of JSON.
#[derive(Serialize)]
struct Line {
    seq: u64,
    id: String,
    rev: u64,
    content_meta: u8,
    physical_size: u64,
    file_offset: u64,
    #[serde(flatten)]
    meta: Meta,
    deleted: bool,
    #[serde(flatten)]
    body: Option<LineBody>,
    #[serde(flatten)]
    raw_id: Option<RawId>,
}

/// The revision metadata in JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Meta {
    Known {
        cas: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        expiry: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        delete_time: Option<u32>,
        flags: u32,
        #[serde(flatten)]
        datatype: Option<Datatype>,
        #[serde(skip_serializing_if = "Option::is_none")]
        conflict_resolution: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sync_write: Option<SyncWrite>,
    },
    Other {
        rev_meta: String,
    },
}

#[derive(Serialize)]
struct Datatype {
    datatype: u8,
    datatype_as_text: String,
}

#[derive(Serialize)]
struct LineBody {
    size: usize,
    snappy: bool,
    display: &'static str,
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xattrs: Option<Map<String, Value>>,
}

/// For ids that are not UTF-8.
#[derive(Serialize)]
struct RawId {
    id_is_utf8: bool,
    id_hex: String,
}

impl Meta {
    fn of(info: &DocInfoRef<'_>) -> Meta {
        let Some(meta) = RevMeta::of(info) else { return Meta::Other { rev_meta: hex(info.rev_meta) } };
        let datatype = |bits| Datatype { datatype: bits, datatype_as_text: datatype::text(bits) };
        Meta::Known {
            cas: meta.cas.to_string(),
            expiry: (!info.deleted).then_some(meta.expiry),
            delete_time: info.deleted.then_some(meta.expiry),
            flags: meta.flags,
            datatype: meta.datatype.map(datatype),
            conflict_resolution: meta.conflict_resolution,
            sync_write: meta.sync_write,
        }
    }
}

impl Document<'_> {
    /// As one JSON object.
    pub(super) fn json(&self, output: &mut Output) -> Result<(), Failure> {
        let info = self.info;
        let is_utf8 = std::str::from_utf8(info.id).is_ok();
        output.json(&Line {
            seq: info.db_seq,
            id: self.ids.lossless(info.id),
            rev: info.rev_seq,
            content_meta: info.content_meta,
            physical_size: info.physical_size,
            file_offset: info.body_position,
            meta: Meta::of(info),
            deleted: info.deleted,
            body: self.line_body(),
            raw_id: (!is_utf8).then(|| RawId { id_is_utf8: false, id_hex: hex(info.id) }),
        })
    }

    fn line_body(&self) -> Option<LineBody> {
        let without = |display| LineBody { size: 0, snappy: false, display, body: None, xattrs: None };
        Some(match &self.content {
            Content::NotShown => return None,
            Content::Absent => without("none"),
            Content::Unreadable => without("unreadable"),
            Content::Present(body) => {
                let (display, text) = body.display(self.as_hex);
                let (size, snappy, xattrs) = (body.bytes.len(), body.snappy, body.xattrs_object());
                LineBody { size, snappy, display, body: Some(text), xattrs }
            }
        })
    }

    /// As a few lines of text.
    pub(super) fn text(&self, output: &mut Output) -> Result<(), Failure> {
        let info = self.info;
        writeln!(output, "Doc seq: {}", info.db_seq)?;
        writeln!(output, "     id: {}", self.ids.show(info.id))?;
        writeln!(output, "     rev: {}", info.rev_seq)?;
        writeln!(output, "     content_meta: {}", info.content_meta)?;
        writeln!(output, "     size (on disk): {}", info.physical_size)?;
        if info.body_position != 0 {
            writeln!(output, "     offset: {}", info.body_position)?;
        }
        meta_text(output, info)?;
        if info.deleted {
            writeln!(output, "     doc deleted")?;
        }
        if let Content::Present(body) = &self.content {
            self.body_text(output, body)?;
        }
        Ok(writeln!(output)?)
    }

    fn body_text(&self, output: &mut Output, body: &Body) -> Result<(), Failure> {
        writeln!(output, "     size: {}", body.bytes.len())?;
        for (name, value) in body.xattrs.iter().flatten() {
            let (name, value) = (printable(name.as_bytes()), printable(value.as_bytes()));
            writeln!(output, "     xattr: {name}: {value}")?;
        }
        write!(output, "     data: {}", if body.snappy { "(snappy) " } else { "" })?;
        if self.as_hex {
            write!(output, "{}", hex(&body.bytes))?;
        } else if output.is_terminal() {
            write!(output, "{}", printable_lines(&body.bytes))?;
        } else {
            output.write_all(&body.bytes)?;
        }
        Ok(writeln!(output)?)
    }
}

fn meta_text(output: &mut Output, info: &DocInfoRef<'_>) -> Result<(), Failure> {
    if info.rev_meta.is_empty() {
        return Ok(());
    }
    let Some(meta) = RevMeta::of(info) else {
        return Ok(writeln!(output, "     rev_meta: {}", hex(info.rev_meta))?);
    };
    let time = if info.deleted { "delete_time" } else { "expiry" };
    write!(output, "     cas: {}, {time}: {}, flags: {}", meta.cas, meta.expiry, meta.flags)?;
    if let Some(bits) = meta.datatype {
        write!(output, ", datatype: 0x{bits:02x} ({})", datatype::text(bits))?;
    }
    if let Some(mode) = meta.conflict_resolution {
        write!(output, ", conflict_resolution: {mode}")?;
    }
    writeln!(output)?;
    match meta.sync_write {
        None => {}
        Some(SyncWrite::Pending { level }) => writeln!(output, "     sync write: pending, level: {level}")?,
        Some(SyncWrite::Commit { prepared_seq }) => {
            writeln!(output, "     sync write: commit, prepared seq: {prepared_seq}")?;
        }
        Some(SyncWrite::Abort { prepared_seq }) => {
            writeln!(output, "     sync write: abort, prepared seq: {prepared_seq}")?;
        }
        Some(SyncWrite::Other { code }) => writeln!(output, "     sync write: operation {code}")?,
    }
    Ok(())
}
