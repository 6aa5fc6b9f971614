//! Approval of calls by a human: forms, tickets, the ticket page and the Redis user.

mod forms;
mod gate;
mod page;
mod redis_user;
mod tickets;
