// SPDX-License-Identifier: Apache-2.0

//! What a server does with a store: many threads write and read, and the file keeps its size.

use couchstore::{Result, Store, StoreOptions};
use std::thread;

/// What a request does: all of it is durable when this returns, or nothing of it is there.
fn visit(store: &Store, page: &str, visitor: &str) -> Result<()> {
    store.write(|batch| {
        let visits =
            batch.get(page)?.map_or(0, |visits| String::from_utf8_lossy(&visits).parse().unwrap_or(0));
        batch.put(page, (visits + 1).to_string());
        batch.put(format!("visitor/{page}/{visits}"), visitor);
        Ok(())
    })
}

/// Readers see what one commit has left, however long they take.
fn report(store: &Store, page: &str) -> Result<()> {
    let snapshot = store.snapshot();
    let visits =
        snapshot.get(page)?.map_or(0, |visits| String::from_utf8_lossy(&visits).parse().unwrap_or(0));
    let visitors = snapshot.range(format!("visitor/{page}/")..format!("visitor/{page}0")).bodies();
    let visitors = visitors.collect::<Result<Vec<_>>>()?;
    assert_eq!(visitors.len(), visits, "all of a write, or nothing of it");
    Ok(())
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // It compacts itself when half of the file is waste.
    let options = StoreOptions::new().compact_at(Some(50));
    let store = &options.open_store(folder.path().join("visits.couch"))?;
    thread::scope(|scope| {
        let servers: Vec<_> = ["home", "news", "shop", "home"]
            .into_iter()
            .map(|page| {
                scope.spawn(move || {
                    (0..50).try_for_each(|n| {
                        visit(store, page, &format!("number {n}")).and_then(|()| report(store, page))
                    })
                })
            })
            .collect();
        servers.into_iter().try_for_each(|server| server.join().expect("no panic"))
    })?;
    assert_eq!(store.get("home")?.as_deref(), Some(&b"100"[..]));
    Ok(())
}
