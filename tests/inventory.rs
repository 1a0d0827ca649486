//! tests/INVENTORY.md is what it claims: every unsafe block with its proof and a test that runs it,
//! and every place that can panic with who may bring it about.
//!
//! The page is generated: `REVEILLE_INVENTORY=write cargo test --test inventory` writes it anew, once
//! the tables below say what the source cannot.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use source::{code, has_word};

#[path = "tidy/source.rs"]
mod source;

/// Which test runs the unsafe blocks of a function.
const EXERCISED: [(&str, &str); 74] = [
    (
        "net/sys/many.rs send_many",
        "each_datagram_is_sent_once_whatever_their_number",
    ),
    (
        "net/sys/many.rs recv_many",
        "every_short_count_is_followed_by_the_rest",
    ),
    (
        "net/sys/many.rs empty_headers",
        "every_short_count_is_followed_by_the_rest",
    ),
    (
        "net/sys/message.rs send_to",
        "every_send_sends_one_datagram_whole",
    ),
    (
        "net/sys/message.rs recv_from",
        "every_receive_gets_each_datagram_of_one_event_whole",
    ),
    (
        "net/sys/message.rs send_message",
        "an_answer_comes_from_where_the_question_went",
    ),
    (
        "net/sys/message.rs recv_message",
        "where_the_calls_for_many_are_refused_they_go_one_by_one",
    ),
    (
        "net/sys/message.rs empty_header",
        "a_batch_says_what_was_cut_and_who_sent_it",
    ),
    (
        "net/sys/uninit.rs recv_vec_from",
        "a_vec_without_room_gets_enough_for_any_datagram",
    ),
    (
        "net/sys/descriptors.rs send_fds",
        "descriptors_arrive_in_order_with_their_bytes_and_are_not_inherited",
    ),
    (
        "net/sys/descriptors.rs recv_fds",
        "rooms_of_no_to_six_descriptors_are_exact_and_leak_none",
    ),
    (
        "net/sys/pipe.rs pipe",
        "both_ends_are_born_close_on_exec_and_nonblocking",
    ),
    (
        "net/sys/pipe.rs status_flags",
        "the_end_to_write_to_is_not_read_from_nor_the_other_way_round",
    ),
    (
        "net/sys/pipe.rs set_blocking",
        "into_blocking_fd_really_blocks",
    ),
    (
        "net/sys/pipe.rs PipeFd::read_vectored",
        "bytes_arrive_in_order_in_every_form",
    ),
    (
        "net/sys/pipe.rs PipeFd::write_vectored",
        "bytes_arrive_in_order_in_every_form",
    ),
    (
        "net/sys/pipe.rs PipeFd::capacity",
        "a_pipe_says_and_sets_what_it_holds",
    ),
    (
        "net/sys/pipe.rs PipeFd::set_capacity",
        "a_pipe_says_and_sets_what_it_holds",
    ),
    (
        "net/sys/uninit.rs read_uninit",
        "a_read_of_a_pipe_into_memory_without_values_writes_what_came_and_no_more",
    ),
    (
        "net/sys/uninit.rs recv_read_buf",
        "a_read_initialises_what_it_received_and_no_more",
    ),
    (
        "net/sys/uninit.rs recv_cursor",
        "a_read_fills_what_it_received_and_no_more",
    ),
    (
        "net/sys/uninit.rs recv_uninit",
        "a_read_into_memory_without_values_writes_what_it_received_and_no_more",
    ),
    (
        "net/sys/uninit.rs recv_vec",
        "a_read_into_a_vec_appends_to_its_spare_room",
    ),
    (
        "net/sys/socket.rs unix_pair",
        "what_was_written_before_a_close_arrives_and_then_the_end",
    ),
    (
        "net/sys/options.rs peer_pidfd",
        "the_process_that_connected_is_known_and_its_end_is_seen",
    ),
    (
        "net/sys/socket.rs socket",
        "sockets_are_born_close_on_exec_and_nonblocking",
    ),
    (
        "net/sys/socket.rs own",
        "a_peer_without_an_ip_address_is_refused_and_closed",
    ),
    (
        "net/sys/socket.rs bind",
        "a_port_in_time_wait_can_be_reused",
    ),
    ("net/sys/socket.rs listen", "every_backlog_is_accepted"),
    (
        "net/sys/socket.rs connect",
        "connecting_to_a_closed_port_is_refused",
    ),
    (
        "net/sys/socket.rs accept_from",
        "a_connection_reset_in_the_queue_is_accepted_with_its_address",
    ),
    ("net/sys/stream.rs recv", "peeked_bytes_stay_in_the_socket"),
    (
        "net/sys/stream.rs send",
        "writing_to_a_closed_peer_is_an_error_and_not_a_signal",
    ),
    (
        "net/sys/stream.rs recv_vectored",
        "vectored_calls_take_a_thousand_buffers_of_five_thousand",
    ),
    (
        "net/sys/stream.rs send_vectored",
        "vectored_calls_take_a_thousand_buffers_of_five_thousand",
    ),
    ("net/sys/options.rs get", "a_pending_error_is_taken_once"),
    (
        "net/sys/socket.rs shutdown",
        "shutdown_ends_the_direction_it_names",
    ),
    (
        "net/sys/options.rs set",
        "a_port_in_time_wait_can_be_reused",
    ),
    (
        "net/sys/options.rs set_zero_linger",
        "a_reset_is_reported_once_and_then_the_end",
    ),
    (
        "net/sys/socket.rs peer_name",
        "an_interrupted_connect_goes_on",
    ),
    (
        "net/sys/socket.rs keep_nonblocking",
        "a_sharer_that_makes_a_listener_block_does_not_stop_the_loop",
    ),
    (
        "net/sys/options.rs get_bytes",
        "a_socket_is_bound_to_a_device_and_told_which",
    ),
    (
        "net/sys/options.rs set_bytes",
        "a_socket_is_bound_to_a_device_and_told_which",
    ),
    (
        "net/sys/options.rs count",
        "bytes_are_counted_until_they_are_sent_acknowledged_and_read",
    ),
    (
        "net/sys/options.rs linger",
        "linger_and_quickack_are_told_and_set",
    ),
    (
        "net/sys/socket.rs poll_now",
        "a_listener_is_readable_while_a_connection_waits",
    ),
    (
        "net/sys/stream.rs message",
        "empty_buffers_in_front_are_no_end_of_stream",
    ),
    (
        "runtime/sys/mod.rs own",
        "what_a_sandbox_refuses_of_the_runtime_is_done_without_or_named",
    ),
    (
        "runtime/sys/timerfd.rs TimerFd::new",
        "a_short_sleep_sets_the_alarm_and_a_long_one_does_not",
    ),
    (
        "runtime/sys/timerfd.rs TimerFd::set",
        "an_alarm_ends_a_wait_once_and_not_too_early",
    ),
    (
        "runtime/sys/epoll.rs Epoll::new",
        "at_the_descriptor_limit_every_constructor_fails_clearly_and_leaks_nothing",
    ),
    (
        "runtime/sys/epoll.rs Epoll::control",
        "a_second_registration_of_one_descriptor_is_an_error_and_the_first_one_works_on",
    ),
    (
        "runtime/sys/epoll.rs Epoll::delete",
        "a_descriptor_can_be_taken_back_and_wrapped_again_a_hundred_times",
    ),
    (
        "runtime/sys/epoll.rs Epoll::wait",
        "one_turn_serves_more_descriptors_than_fit_into_a_batch",
    ),
    (
        "runtime/sys/epoll.rs Epoll::watch",
        "what_a_sandbox_refuses_of_the_runtime_is_done_without_or_named",
    ),
    (
        "runtime/sys/epoll.rs Epoll::wait_millis",
        "without_epoll_pwait2_sleeps_are_as_good",
    ),
    (
        "runtime/sys/epoll.rs Epoll::wait_nanos",
        "a_short_sleep_parks_a_few_times_at_most",
    ),
    (
        "runtime/sys/eventfd.rs EventFd::new",
        "a_wake_from_a_thread_ends_the_wait",
    ),
    (
        "runtime/sys/fork.rs is_forked_child",
        "in_a_child_everything_that_reaches_epoll_says_exec_first",
    ),
    (
        "runtime/sys/fork.rs wiped_page",
        "a_child_forked_before_the_first_runtime_is_free",
    ),
    (
        "runtime/sys/fork.rs unmap",
        "where_no_page_can_be_wiped_a_child_is_known_all_the_same",
    ),
    (
        "runtime/sys/fork.rs clear_by_fork",
        "where_no_page_can_be_wiped_a_child_is_known_all_the_same",
    ),
    (
        "runtime/sys/signal.rs change_signal_action",
        "after_restore_default_the_second_interrupt_kills",
    ),
    (
        "runtime/sys/signal.rs no_action",
        "after_restore_default_the_second_interrupt_kills",
    ),
    (
        "runtime/sys/signal.rs unblock_signal",
        "a_signal_that_was_blocked_at_birth_is_heard_unless_it_is_to_stay_so",
    ),
    (
        "runtime/sys/inherit.rs Inherited::give_to_this_thread",
        "what_is_started_in_work_has_the_mask_and_the_slack_of_main",
    ),
    (
        "runtime/sys/inherit.rs signal_mask",
        "what_is_started_in_work_has_the_mask_and_the_slack_of_main",
    ),
    (
        "runtime/sys/slack.rs timer_slack",
        "what_is_started_in_work_has_the_mask_and_the_slack_of_main",
    ),
    (
        "runtime/sys/slack.rs set_timer_slack",
        "the_timer_slack_is_set_while_the_runtime_runs_and_put_back",
    ),
    (
        "runtime/sys/signal.rs signal_eventfd",
        "every_listener_in_every_runtime_hears_each_signal",
    ),
    (
        "runtime/sys/signal.rs on_signal",
        "the_handler_interrupts_anything_at_any_time",
    ),
    (
        "runtime/sys/signal.rs catch_signal",
        "a_listener_made_after_restore_default_hears_again",
    ),
    (
        "runtime/task/cell.rs TaskCell::with_stage",
        "a_future_is_dropped_on_its_thread_whoever_drops_the_last_waker",
    ),
    (
        "runtime/name/waker.rs waker",
        "a_waker_is_two_words_and_needs_no_drop",
    ),
];

/// Who can bring about a panic in a function that is not public itself, or that says so elsewhere.
const PANICS: [(&str, &str); 38] = [
    (
        "net/udp/outgoing.rs Outgoing::message",
        "nobody: `Outbound` has room for all that it is asked for",
    ),
    (
        "net/split.rs Reader::reunite",
        "nobody: there are two halves, and the other is in hand",
    ),
    (
        "runtime/context.rs expect_current",
        "documented at each public function that calls it, listed here too",
    ),
    (
        "runtime/task/executor.rs Executor::adopt",
        "`spawn`: documented there; what debug builds check besides is the executor's own work",
    ),
    (
        "runtime/task/blocking.rs start",
        "`spawn_blocking`: documented there",
    ),
    (
        "runtime/task/blocking.rs Blocking::poll",
        "what blocking work panicked with goes on in its task, which contains it",
    ),
    ("runtime/task/executor.rs Executor::pop", "nobody (R1)"),
    ("runtime/task/queue.rs RunQueue::push", "nobody (R1)"),
    (
        "runtime/task/queue.rs RunQueue::resize",
        "nobody: there is room for what is queued",
    ),
    ("runtime/time/interval.rs interval_at", "documented there"),
    (
        "runtime/task/join_set.rs JoinNext::poll",
        "documented at `JoinSet::join_next`",
    ),
    (
        "runtime/task/join.rs is_finished",
        "`JoinHandle::is_finished`: documented there",
    ),
    (
        "runtime/task/join.rs JoinHandle::poll_outcome",
        "awaiting a `JoinHandle`: documented at the type",
    ),
    (
        "runtime/run.rs Runtime::run",
        "`Runtime::block_on`: documented there",
    ),
    (
        "runtime/run.rs Runtime::drive",
        "nobody: the main future is there until it has given its output",
    ),
    (
        "runtime/run.rs Core::run_until_main",
        "`Runtime::block_on`: documented there",
    ),
    (
        "runtime/run.rs block_on_once",
        "`block_on` and `Builder::block_on`: documented there",
    ),
    (
        "runtime/task/outcome.rs Task::leave",
        "nobody, and in debug builds only: the end of a task tells whoever waits",
    ),
    (
        "runtime/io/operation.rs Operation::poll",
        "polling a future after it was ready: documented at `AsyncFd::async_io` and `TcpStream`",
    ),
    (
        "runtime/io/operation.rs Wait::until_ready",
        "polling a future after it was ready: documented at `AsyncFd::async_io` and `TcpStream`",
    ),
    (
        "runtime/core.rs Core::unhandled_panic",
        "`UnhandledPanic::ShutdownRuntime`: documented there",
    ),
    (
        "runtime/signal.rs expect_received",
        "`Signal::recv`: documented there",
    ),
    ("runtime/options.rs -", "nobody: while compiling"),
    ("runtime/name/chunks.rs -", "nobody: while compiling"),
    (
        "runtime/name/chunks.rs Chunks::take",
        "nobody: a chunk that is open is there",
    ),
    (
        "runtime/name/chunks.rs Chunks::vacate",
        "nobody: whoever lives in a chunk keeps it there",
    ),
    (
        "runtime/name/slab.rs Slab::get",
        "nobody, and in debug builds only: no name has serial 0",
    ),
    (
        "runtime/name/slab.rs Slab::get_mut",
        "nobody, and in debug builds only: no name has serial 0",
    ),
    (
        "runtime/name/slab.rs Slab::occupy",
        "nobody: a serial is never 0, and the slot was taken just before",
    ),
    (
        "runtime/name/slab.rs Slab::take_new",
        "`spawn`, and 2^32 sources or timers: more than memory holds descriptors or sleeps",
    ),
    (
        "runtime/sys/epoll.rs Epoll::wait",
        "nobody: the kernel keeps to the room it is given",
    ),
    (
        "runtime/sys/epoll.rs Events::room",
        "nobody: while compiling",
    ),
    (
        "runtime/time/sleep.rs Advance::poll",
        "documented at `advance`",
    ),
    ("runtime/time/sleep.rs Sleep::poll", "documented at `sleep`"),
    (
        "runtime/io/waiters.rs Waiters::forget",
        "nobody, and in debug builds only: a wait asks for its own key",
    ),
    (
        "runtime/time/timers.rs Timers::fire",
        "nobody, and in debug builds only",
    ),
    (
        "runtime/name/waker.rs Hint::new",
        "nobody, and in debug builds only: `Executor::adopt` checks first",
    ),
    ("runtime/name/waker.rs -", "nobody: while compiling"),
];

/// Public functions with `#[track_caller]` that do not panic.
const TRACKED: [(&str, &str); 1] = [(
    "runtime/handle.rs Handle::spawn",
    "the caller's line goes into the task's span",
)];

const PANICKING: [&str; 11] = [
    "panic!(",
    "assert!(",
    "assert_eq!(",
    "assert_ne!(",
    "debug_assert!(",
    "unreachable!(",
    "todo!(",
    ".unwrap()",
    ".expect(",
    "expect_current(",
    "resume_unwind(",
];

#[test]
fn the_inventory_is_what_the_source_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/INVENTORY.md");
    let page = page(&functions(root), root);
    if env::var_os("REVEILLE_INVENTORY").is_some_and(|word| word == "write") {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page,
        "tests/INVENTORY.md is stale: REVEILLE_INVENTORY=write cargo test --test inventory"
    );
}

#[test]
fn every_public_function_that_panics_says_when() {
    let mut complaints = Vec::new();
    for function in functions(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        let panics = !function.panics.is_empty() || function.tracked;
        let said = function.docs.contains("# Panics");
        let excused = lookup(&TRACKED, &function.name).or(lookup(&PANICS, &function.name));
        if function.public && panics && !said && excused.is_none() {
            complaints.push(format!("{} does not say when it panics", function.name));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// A function of the library, or what stands outside of any.
struct Function {
    /// `runtime/sys/epoll.rs Epoll::control`
    name: String,
    public: bool,
    tracked: bool,
    docs: String,
    /// The proofs of its unsafe blocks.
    proofs: Vec<String>,
    /// Its lines that may panic.
    panics: Vec<String>,
}

fn page(functions: &[Function], root: &Path) -> String {
    let tests = sources(root, "tests");
    let exists = |test: &str| {
        let function = format!("fn {test}(");
        tests.iter().any(|(_, text)| text.contains(&function))
    };
    let mut page = String::from(
        "# Inventory\n\n\
         Every `unsafe` block of the library with its proof and a test that runs it; then every place \
         that can panic.\nGenerated by `tests/inventory.rs`, which says how, and fails when this is stale.\n\n\
         There is no `unsafe impl` and no `unsafe fn` (`tests/tidy.rs`). The tests run under \
         AddressSanitizer and\nvalgrind, too (`tests/prove`).\n\n## Unsafe blocks\n",
    );
    let mut blocks = 0;
    let mut used = BTreeSet::new();
    for function in functions
        .iter()
        .filter(|function| !function.proofs.is_empty())
    {
        let name = &function.name;
        let test = lookup(&EXERCISED, name).unwrap_or_else(|| panic!("which test runs {name}?"));
        assert!(exists(test), "{name}: no test `{test}`");
        used.insert(name.as_str());
        writeln!(page, "\n### {name}\n\nTest: `{test}`\n").unwrap();
        for proof in &function.proofs {
            writeln!(page, "- {proof}").unwrap();
            blocks += 1;
        }
    }
    writeln!(page, "\n{blocks} blocks.\n\n## Panics\n").unwrap();
    page.push_str("| where | what | who |\n|---|---|---|\n");
    for function in functions
        .iter()
        .filter(|function| !function.panics.is_empty())
    {
        let name = &function.name;
        let who = match lookup(&PANICS, name) {
            Some(who) => who,
            None if function.public => "whoever calls it: documented there",
            None => panic!("who can make {name} panic?"),
        };
        used.insert(name.as_str());
        for line in &function.panics {
            writeln!(
                page,
                "| `{name}` | `{}` | {who} |",
                line.replace('|', "\\|").replace('`', "'")
            )
            .unwrap();
        }
    }
    for (name, _) in EXERCISED.iter().chain(&PANICS) {
        assert!(
            used.contains(name),
            "{name} is in a table, and not in the source"
        );
    }
    page
}

/// All functions of the library that have something unsafe, panicking or tracked in them.
fn functions(root: &Path) -> Vec<Function> {
    let mut sources = sources(root, "runtime");
    sources.extend(self::sources(root, "net"));
    sources.sort();
    sources
        .iter()
        .flat_map(|(path, text)| scan(path, text))
        .collect()
}

/// Reads a file line by line; `rustfmt` sees to it that indentation tells what is inside of what.
fn scan(path: &str, text: &str) -> Vec<Function> {
    let mut found: Vec<Function> = Vec::new();
    // By indentation: the functions around this line, by their place in `found`.
    let mut around: Vec<(usize, usize)> = Vec::new();
    let (mut owner, mut docs, mut tracked) = (String::new(), String::new(), false);
    found.push(function(path, "", "-", false));
    let raw: Vec<&str> = text.lines().collect();
    let code = code(text);
    for (number, line) in code.lines().enumerate() {
        let trimmed = raw[number].trim_start();
        if let Some(doc) = trimmed.strip_prefix("///") {
            docs.push_str(doc);
            docs.push('\n');
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        // The end of a head that takes several lines is no end of the function.
        let head = ["where", "{", ")"];
        if !head.iter().any(|start| trimmed.starts_with(start)) {
            around.retain(|(outer, _)| *outer < indent);
        }
        if indent == 0 {
            owner.clear();
            if line.starts_with("impl") {
                let of = line.rsplit(" for ").next().unwrap_or(line);
                let of = of.trim_start_matches("impl").trim_start();
                let of = of
                    .strip_prefix('<')
                    .map_or(of, |rest| rest.split_once("> ").map_or(rest, |(_, of)| of));
                owner = of.chars().take_while(|c| c.is_alphanumeric()).collect();
            }
        }
        if trimmed.starts_with("#[track_caller]") {
            tracked = true;
        } else if let Some(name) = function_name(line) {
            let public = line.trim_start().starts_with("pub fn")
                || line.trim_start().starts_with("pub async fn");
            found.push(function(path, &owner, name, public));
            let last = found.len() - 1;
            found[last].docs = std::mem::take(&mut docs);
            found[last].tracked = std::mem::take(&mut tracked);
            around.push((indent, last));
        } else if !trimmed.starts_with("#[") {
            docs.clear();
        }
        // A closure's function is the outermost one that is a method or stands free.
        let here = around.first().map_or(0, |(_, function)| *function);
        if has_word(line, "unsafe") {
            found[here].proofs.push(proof(&raw, number));
        }
        if PANICKING
            .iter()
            .any(|word| has_word(line, word) || word.starts_with('.') && line.contains(word))
            && function_name(line).is_none()
        {
            found[here]
                .panics
                .push(trimmed.trim_end_matches('{').trim().to_owned());
        }
    }
    found.retain(|function| {
        !function.proofs.is_empty() || !function.panics.is_empty() || function.tracked
    });
    found
}

fn function(path: &str, owner: &str, name: &str, public: bool) -> Function {
    let separator = if owner.is_empty() { "" } else { "::" };
    Function {
        name: format!("{path} {owner}{separator}{name}"),
        public,
        tracked: false,
        docs: String::new(),
        proofs: Vec::new(),
        panics: Vec::new(),
    }
}

/// The name of the function whose head is in this line.
fn function_name(line: &str) -> Option<&str> {
    let at = line.find("fn ")?;
    let before = line[..at].trim();
    let modifiers = [
        "pub",
        "const",
        "async",
        "extern",
        "\"\"",
        "unsafe",
        "pub(crate)",
        "pub(super)",
    ];
    if !before
        .split_whitespace()
        .all(|word| modifiers.contains(&word))
    {
        return None;
    }
    let rest = &line[at + 3..];
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0).then(|| &rest[..end])
}

/// The nearest SAFETY comment above a line, as one line.
fn proof(raw: &[&str], number: usize) -> String {
    let start = (0..=number)
        .rev()
        .find(|&above| raw[above].contains("// SAFETY:"));
    let start = start.expect("clippy sees to it that there is a proof");
    assert!(
        number - start < 12,
        "line {}: its proof is far away",
        number + 1
    );
    let comment = raw[start..]
        .iter()
        .map_while(|line| line.trim_start().strip_prefix("//"));
    let text: Vec<&str> = comment.map(str::trim).collect();
    text.join(" ").replacen("SAFETY: ", "", 1)
}

fn lookup<'a>(table: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    let found = table.iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| *value)
}

/// The Rust files in a directory and below, by their path from the root.
fn sources(root: &Path, directory: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(sources(root, &path));
        } else if path.ends_with(".rs") {
            found.push((path, fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found
}
