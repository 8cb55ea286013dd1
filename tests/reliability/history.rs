// SPDX-License-Identifier: Apache-2.0

//! What is done to a database, and what it should hold after each commit.

use crate::common::model::{Doc, Model};
use couchstore::io::sim::random::Random;
use couchstore::{COMPRESSED, Db, Document, LocalUpdate, OpenOptions, Result, SaveOptions};

/// One transaction: a batch of documents, local documents, and a commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) docs: Vec<Doc>,
    pub(crate) locals: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Its place in the history. It is kept in the file as the purge sequence: so a file tells how far it has got.
    pub(crate) number: u64,
    /// It is done to an encrypted file, in which bodies take more room.
    pub(crate) encrypted: bool,
}

const OPTIONS: SaveOptions = SaveOptions::new().compress(true);

impl Transaction {
    /// A transaction like those that hosts make: new documents, changed and deleted ones, small and large bodies.
    pub(crate) fn random(random: &mut Random, number: u64) -> Transaction {
        let count = 1 + random.below(8);
        let docs = (0..count).map(|_| random_doc(random)).collect();
        let mut locals = Vec::new();
        if random.percent(60) {
            let id = format!("_local/{}", random.below(4)).into_bytes();
            let length = random.below(300) as usize;
            locals.push((id, random.percent(80).then(|| random.noise(length))));
        }
        Transaction { docs, locals, number, encrypted: false }
    }

    /// Saves it all; nothing is committed yet.
    pub(crate) fn save(&self, db: &Db) -> Result<()> {
        let documents: Vec<Document<'_>> = self.docs.iter().map(Doc::document).collect();
        db.save(&documents, OPTIONS)?;
        self.save_locals(db)?;
        db.set_purge_seq(self.number);
        Ok(())
    }

    pub(crate) fn save_locals(&self, db: &Db) -> Result<()> {
        let updates: Vec<_> =
            self.locals.iter().map(|(id, body)| LocalUpdate { id, body: body.as_deref() }).collect();
        db.save_local(&updates)
    }

    pub(crate) fn commit(&self, db: &Db) -> Result<()> {
        db.commit_with(self.number, None)
    }

    /// The state after it.
    pub(crate) fn applied_to(&self, before: &Model) -> Model {
        let mut after = before.clone();
        after.save(&self.docs, OPTIONS);
        for (id, body) in &self.locals {
            match body {
                Some(body) => after.local.insert(id.clone(), body.clone()),
                None => after.local.remove(id),
            };
        }
        after.purge_seq = self.number;
        if self.encrypted {
            after.encrypt();
        }
        after
    }
}

fn random_doc(random: &mut Random) -> Doc {
    let id = format!("doc-{}", random.below(30)).into_bytes();
    if random.percent(15) {
        return Doc::deletion(&id);
    }
    let length = match random.below(20) {
        0 => 0,
        1..=2 => 2000 + random.below(9000),
        _ => random.below(300),
    };
    let mut doc = Doc::new(&id, &random.noise(length as usize));
    doc.rev_seq = random.below(1 << 40);
    doc.rev_meta = random.noise(random.clone().below(20) as usize);
    doc.content_meta = if random.percent(30) { COMPRESSED } else { 0 };
    doc.deleted = random.percent(5);
    doc
}

/// Transactions, and the states between them.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) transactions: Vec<Transaction>,
    /// One more than transactions: the first is the state before them.
    pub(crate) states: Vec<Model>,
}

impl History {
    /// So many random transactions after a state.
    pub(crate) fn random(random: &mut Random, start: Model, count: u64, encrypted: bool) -> History {
        let first = start.purge_seq + 1;
        let mut history = History { transactions: Vec::new(), states: vec![start] };
        for number in first..first + count {
            history.push(Transaction { encrypted, ..Transaction::random(random, number) });
        }
        history
    }

    pub(crate) fn push(&mut self, transaction: Transaction) {
        self.states.push(transaction.applied_to(self.last()));
        self.transactions.push(transaction);
    }

    pub(crate) fn last(&self) -> &Model {
        self.states.last().expect("a state")
    }
}

/// Small nodes: few documents make trees with several levels.
pub(crate) fn small_nodes(options: OpenOptions) -> OpenOptions {
    options.node_sizes(200, 200)
}
