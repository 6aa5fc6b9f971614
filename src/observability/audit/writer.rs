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
    AuditEntry, AuditSettings, AuditUnavailable, LogEvent, QueueState, SyncPolicy, WriterMessage,
    chain::{Chain, ChainLink},
    file::build_event,
    sink::{Sink, StartEvents},
};

/// Interval between syncs with [`SyncPolicy::Interval`], and between attempts after a failed write.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which an idle writer checks that the log is still at its path.
const PATH_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum size of one write, in bytes; at least one entry is written.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// Maximum number of messages received before they are processed.
const MAX_MESSAGES_PER_TURN: usize = 256;

/// The receiving end of the queue.
pub(super) struct Writer {
    sink: Sink,
    chain: Chain,
    sync: SyncPolicy,
    queue: Arc<QueueState>,
    /// Number and hash of the last written entry.
    last_link: ChainLink,
    /// Entries to write.
    waiting: VecDeque<AuditEntry>,
    /// Intents to record.
    pending_intents: Vec<(AuditEntry, oneshot::Sender<Result<(), AuditUnavailable>>)>,
    /// Calls whose entry is written, but perhaps not yet synced.
    written_calls: Vec<u64>,
    /// Time since which something is not synced.
    unsynced_since: Option<Instant>,
    /// True while the intents of the previous process are not cleared; the first entries report
    /// them.
    has_previous_intents: bool,
    is_failing: bool,
}

impl Writer {
    /// Creates a writer that continues after `link`, and writes `found` first.
    pub(super) fn new(
        sink: Sink,
        link: ChainLink,
        events: StartEvents,
        settings: &AuditSettings,
        queue: Arc<QueueState>,
    ) -> Self {
        let mut writer = Self {
            sink,
            chain: Chain::new(settings.key.clone()),
            sync: settings.sync,
            queue,
            last_link: link,
            waiting: VecDeque::new(),
            pending_intents: Vec::new(),
            written_calls: Vec::new(),
            unsynced_since: None,
            has_previous_intents: true,
            is_failing: false,
        };
        events.into_iter().for_each(|body| writer.push_event(body));
        writer
    }

    /// Writes entries until all senders are dropped.
    pub(super) fn run(&mut self, messages: &Receiver<WriterMessage>) {
        loop {
            self.process_queue();
            let message = match self.time_until_work() {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(pause) => messages.recv_timeout(pause),
            };
            match message {
                Ok(message) => self.enqueue(message),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            messages
                .try_iter()
                .take(MAX_MESSAGES_PER_TURN)
                .for_each(|message| self.enqueue(message));
        }
        self.sync = SyncPolicy::Always;
        self.process_queue();
        let (lines, ChainLink { seq, tag }) = (self.waiting.len(), &self.last_link);
        if lines > 0 {
            error!(
                lines,
                "the audit log ends without lines that could not be written"
            );
        }
        info!(seq, hash = tag, "the audit log is closed");
    }

    fn enqueue(&mut self, message: WriterMessage) {
        match message {
            WriterMessage::Entry(entry) => self.waiting.push_back(entry),
            WriterMessage::Intent(entry, reply) => self.pending_intents.push((entry, reply)),
        }
    }

    /// Queues an entry about the log itself.
    fn push_event(&mut self, body: Vec<u8>) {
        self.queue
            .waiting_bytes
            .fetch_add(body.len(), Ordering::Relaxed);
        // Zero stands for no call: numbers of calls begin at one.
        self.waiting.push_back(AuditEntry { call: 0, body });
    }

    /// Returns the time after which work is due without a new message; `None` for never.
    fn time_until_work(&self) -> Option<Duration> {
        if self.is_failing {
            return Some(SYNC_INTERVAL);
        }
        if let Some(since) = self
            .unsynced_since
            .filter(|_| self.sync == SyncPolicy::Interval)
        {
            return Some(SYNC_INTERVAL.saturating_sub(since.elapsed()));
        }
        self.sink.is_file().then_some(PATH_CHECK_INTERVAL)
    }

    fn process_queue(&mut self) {
        let lines = self.write_waiting().and_then(|()| self.check_intents());
        self.log_state_change(&lines);
        let intended = mem::take(&mut self.pending_intents);
        if intended.is_empty() {
            return;
        }
        let recorded = lines.and_then(|()| self.write_intents(&intended));
        self.log_state_change(&recorded);
        let recorded = recorded.map_err(|_| AuditUnavailable);
        for (entry, reply) in intended {
            if reply.send(recorded).is_err() || recorded.is_err() {
                // Nobody waits for the reply any more, or the intent failed, so nothing is sent.
                self.written_calls.push(entry.call);
            }
        }
    }

    /// Checks that intents can be recorded, if there are any or writing failed before.
    fn check_intents(&mut self) -> io::Result<()> {
        let is_due = self.is_failing || !self.pending_intents.is_empty();
        match self.sink.intents().filter(|_| is_due) {
            Some(intents) => intents.check_path(),
            None => Ok(()),
        }
    }

    /// Writes the waiting entries.
    fn write_waiting(&mut self) -> io::Result<()> {
        self.sink.check_path()?;
        let lost = self.queue.lost_lines.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.push_event(build_event(LogEvent::Gap, &json!({ "lost": lost })));
        }
        let mut batch = Vec::new();
        while !self.waiting.is_empty() {
            batch.clear();
            let mut link = self.last_link.clone();
            let mut count = 0;
            let mut bytes = 0;
            for entry in &self.waiting {
                let before = batch.len();
                let next = self.chain.append_line(&link, &entry.body, &mut batch);
                if count > 0
                    && (before > MAX_BATCH_BYTES
                        || batch.len() as u64 > self.sink.bytes_until_rotation())
                {
                    batch.truncate(before);
                    break;
                }
                (link, count, bytes) = (next, count + 1, bytes + entry.body.len());
            }
            self.sink.append(&batch)?;
            self.last_link = link;
            self.unsynced_since.get_or_insert_with(Instant::now);
            self.queue.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.written_calls
                .extend(self.waiting.drain(..count).map(|entry| entry.call));
        }
        self.sync_and_clear_intents()
    }

    /// Syncs what is due, and clears the intents of calls whose entry is safe.
    fn sync_and_clear_intents(&mut self) -> io::Result<()> {
        if let Some(since) = self.unsynced_since {
            match self.sync {
                SyncPolicy::Always => self.sink.sync()?,
                SyncPolicy::Interval if since.elapsed() < SYNC_INTERVAL => return Ok(()),
                SyncPolicy::Interval => self.sink.sync()?,
                SyncPolicy::Never => {}
            }
            self.unsynced_since = None;
        }
        let Some(intents) = self.sink.intents() else {
            self.written_calls.clear();
            return Ok(());
        };
        if mem::take(&mut self.has_previous_intents) {
            intents.clear_previous()?;
        }
        while let Some(call) = self.written_calls.last() {
            intents.clear(*call)?;
            self.written_calls.pop();
        }
        Ok(())
    }

    /// Records intents.
    fn write_intents(
        &mut self,
        intended: &[(AuditEntry, oneshot::Sender<Result<(), AuditUnavailable>>)],
    ) -> io::Result<()> {
        let Some(intents) = self.sink.intents() else {
            return Ok(());
        };
        for (entry, _) in intended {
            intents.add(entry.call, &entry.body)?;
        }
        if self.sync == SyncPolicy::Never {
            Ok(())
        } else {
            intents.sync()
        }
    }

    /// Logs when writing begins to fail, and when it works again.
    fn log_state_change(&mut self, outcome: &io::Result<()>) {
        match outcome {
            Err(error) if !self.is_failing => {
                error!(%error, "the audit log cannot be written; it is tried again and again");
            }
            Ok(()) if self.is_failing && self.waiting.is_empty() => {
                info!("the audit log is written again");
            }
            _ => {}
        }
        self.is_failing = outcome.is_err();
        self.queue
            .is_failing
            .store(self.is_failing, Ordering::Relaxed);
    }
}
