//! The writer thread. Only this thread knows the end of the chain; entries that it cannot write are
//! kept and retried.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::oneshot;
use tracing::{error, info};

use super::{
    Entry, LogEvent, Message, Queue, Settings, SyncPolicy, Unwritable,
    chain::{Chain, Link},
    file::event,
    sink::{Found, Sink},
};

/// Interval between syncs with [`SyncPolicy::Interval`], and between attempts after a failed write.
const PAUSE: Duration = Duration::from_secs(1);

/// Interval at which an idle writer checks that the log is still at its path.
const PLACE_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum size of one write, in bytes; at least one entry is written.
const BATCH: usize = 256 << 10;

/// Maximum number of messages received before they are processed.
const TAKEN_AT_ONCE: usize = 256;

/// The receiving end of the queue.
pub(super) struct Writer {
    sink: Sink,
    chain: Chain,
    sync: SyncPolicy,
    queue: Arc<Queue>,
    /// Number and hash of the last written entry.
    link: Link,
    /// Entries to write.
    waiting: VecDeque<Entry>,
    /// Intents to record.
    intended: Vec<(Entry, oneshot::Sender<Result<(), Unwritable>>)>,
    /// Calls whose entry is written, but perhaps not yet synced.
    written: Vec<u64>,
    /// Time since which something is not synced.
    unsynced: Option<Instant>,
    /// True while the intents of the previous process are not cleared; the first entries report
    /// them.
    left: bool,
    failing: bool,
}

impl Writer {
    /// Creates a writer that continues after `link`, and writes `found` first.
    pub(super) fn new(
        sink: Sink,
        link: Link,
        found: Found,
        settings: &Settings,
        queue: Arc<Queue>,
    ) -> Self {
        let mut writer = Self {
            sink,
            chain: Chain::new(settings.key.clone()),
            sync: settings.sync,
            queue,
            link,
            waiting: VecDeque::new(),
            intended: Vec::new(),
            written: Vec::new(),
            unsynced: None,
            left: true,
            failing: false,
        };
        found.into_iter().for_each(|body| writer.tell(body));
        writer
    }

    /// Writes entries until all senders are dropped.
    pub(super) fn run(&mut self, messages: &Receiver<Message>) {
        loop {
            self.work();
            let message = match self.pause() {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(pause) => messages.recv_timeout(pause),
            };
            match message {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            messages
                .try_iter()
                .take(TAKEN_AT_ONCE)
                .for_each(|message| self.take(message));
        }
        self.sync = SyncPolicy::Always;
        self.work();
        let (lines, Link { seq, tag }) = (self.waiting.len(), &self.link);
        if lines > 0 {
            error!(
                lines,
                "the audit log ends without lines that could not be written"
            );
        }
        info!(seq, hash = tag, "the audit log is closed");
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(entry) => self.waiting.push_back(entry),
            Message::Intent(entry, reply) => self.intended.push((entry, reply)),
        }
    }

    /// Queues an entry about the log itself.
    fn tell(&mut self, body: Vec<u8>) {
        self.queue.waiting.fetch_add(body.len(), Ordering::Relaxed);
        // Zero stands for no call: numbers of calls begin at one.
        self.waiting.push_back(Entry { call: 0, body });
    }

    /// Returns the time after which work is due without a new message; `None` for never.
    fn pause(&self) -> Option<Duration> {
        if self.failing {
            return Some(PAUSE);
        }
        if let Some(since) = self.unsynced.filter(|_| self.sync == SyncPolicy::Interval) {
            return Some(PAUSE.saturating_sub(since.elapsed()));
        }
        self.sink.has_place().then_some(PLACE_INTERVAL)
    }

    fn work(&mut self) {
        let lines = self.write().and_then(|()| self.check_intents());
        self.note(&lines);
        let intended = mem::take(&mut self.intended);
        if intended.is_empty() {
            return;
        }
        let recorded = lines.and_then(|()| self.put(&intended));
        self.note(&recorded);
        let recorded = recorded.map_err(|_| Unwritable);
        for (entry, reply) in intended {
            if reply.send(recorded).is_err() || recorded.is_err() {
                // Nobody waits for the reply any more, or the intent failed, so nothing is sent.
                self.written.push(entry.call);
            }
        }
    }

    /// Checks that intents can be recorded, if there are any or writing failed before.
    fn check_intents(&mut self) -> io::Result<()> {
        let is_due = self.failing || !self.intended.is_empty();
        match self.sink.intents().filter(|_| is_due) {
            Some(intents) => intents.check_place(),
            None => Ok(()),
        }
    }

    /// Writes the waiting entries.
    fn write(&mut self) -> io::Result<()> {
        self.sink.check_place()?;
        let lost = self.queue.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.tell(event(LogEvent::Gap, &json!({ "lost": lost })));
        }
        let mut batch = Vec::new();
        while !self.waiting.is_empty() {
            batch.clear();
            let (mut link, mut count, mut bytes) = (self.link.clone(), 0, 0);
            for entry in &self.waiting {
                let before = batch.len();
                let next = self.chain.seal(&link, &entry.body, &mut batch);
                if count > 0 && (before > BATCH || batch.len() as u64 > self.sink.room()) {
                    batch.truncate(before);
                    break;
                }
                (link, count, bytes) = (next, count + 1, bytes + entry.body.len());
            }
            self.sink.append(&batch)?;
            self.link = link;
            self.unsynced.get_or_insert_with(Instant::now);
            self.queue.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.written
                .extend(self.waiting.drain(..count).map(|entry| entry.call));
        }
        self.settle()
    }

    /// Syncs what is due, and clears the intents of calls whose entry is safe.
    fn settle(&mut self) -> io::Result<()> {
        if let Some(since) = self.unsynced {
            match self.sync {
                SyncPolicy::Always => self.sink.sync()?,
                SyncPolicy::Interval if since.elapsed() < PAUSE => return Ok(()),
                SyncPolicy::Interval => self.sink.sync()?,
                SyncPolicy::Never => {}
            }
            self.unsynced = None;
        }
        let Some(intents) = self.sink.intents() else {
            self.written.clear();
            return Ok(());
        };
        if mem::take(&mut self.left) {
            intents.clear_left()?;
        }
        while let Some(call) = self.written.last() {
            intents.clear(*call)?;
            self.written.pop();
        }
        Ok(())
    }

    /// Records intents.
    fn put(
        &mut self,
        intended: &[(Entry, oneshot::Sender<Result<(), Unwritable>>)],
    ) -> io::Result<()> {
        let Some(intents) = self.sink.intents() else {
            return Ok(());
        };
        for (entry, _) in intended {
            intents.put(entry.call, &entry.body)?;
        }
        if self.sync == SyncPolicy::Never {
            Ok(())
        } else {
            intents.sync()
        }
    }

    /// Logs when writing begins to fail, and when it works again.
    fn note(&mut self, outcome: &io::Result<()>) {
        match outcome {
            Err(error) if !self.failing => {
                error!(%error, "the audit log cannot be written; it is tried again and again");
            }
            Ok(()) if self.failing && self.waiting.is_empty() => {
                info!("the audit log is written again");
            }
            _ => {}
        }
        self.failing = outcome.is_err();
        self.queue.is_failing.store(self.failing, Ordering::Relaxed);
    }
}
