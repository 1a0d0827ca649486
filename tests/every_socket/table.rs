//! The table: rows, columns, cells, and whether they are complete.

use std::collections::BTreeSet;

/// A cell says `test`; or `same`, if there the type is but another way to the value of the type in the second column,
/// which is tested; or the letter of the note that says why the column has no meaning for the type.
const TABLE: &str = "
type                 | same as          | zero | eof  | reset | half | cancel | emfile | first | foreign | drop | child | ended | block | epoll | chaos
tcp::TcpListener     |                  | a    | test | test  | b    | test   | test   | test  | test    | test | test  | test  | test  | test  | test
tcp::TcpStream       |                  | test | test | test  | test | test   | test   | test  | test    | test | test  | test  | test  | test  | test
tcp::ReadHalf        | tcp::TcpStream   | test | test | test  | test | test   | same   | test  | test    | same | test  | test  | test  | test  | test
tcp::WriteHalf       | tcp::TcpStream   | test | c    | test  | test | test   | same   | test  | test    | same | test  | test  | test  | test  | test
tcp::OwnedReadHalf   | tcp::TcpStream   | test | test | test  | test | test   | same   | test  | test    | test | test  | test  | test  | test  | test
tcp::OwnedWriteHalf  | tcp::TcpStream   | test | c    | test  | test | test   | same   | test  | test    | test | test  | test  | test  | test  | test
tcp::TcpSocket       |                  | d    | d    | test  | d    | test   | test   | test  | test    | test | test  | test  | test  | test  | test
udp::UdpSocket       |                  | test | e    | test  | e    | test   | test   | test  | test    | test | test  | test  | test  | test  | test
unix::UnixListener   |                  | a    | test | test  | b    | test   | test   | test  | test    | test | test  | test  | test  | test  | test
unix::UnixStream     |                  | test | test | test  | test | test   | test   | test  | test    | test | test  | test  | test  | test  | test
unix::ReadHalf       | unix::UnixStream | test | test | test  | test | test   | same   | test  | test    | same | test  | test  | test  | test  | test
unix::WriteHalf      | unix::UnixStream | test | c    | test  | test | test   | same   | test  | test    | same | test  | test  | test  | test  | test
unix::OwnedReadHalf  | unix::UnixStream | test | test | test  | test | test   | same   | test  | test    | test | test  | test  | test  | test  | test
unix::OwnedWriteHalf | unix::UnixStream | test | c    | test  | test | test   | same   | test  | test    | test | test  | test  | test  | test  | test
unix::UnixDatagram   |                  | test | f    | test  | test | test   | test   | test  | test    | test | test  | test  | test  | test  | test
unix::UnixSocket     |                  | d    | d    | test  | d    | test   | test   | test  | g       | test | test  | test  | test  | test  | test
pipe::Receiver       |                  | test | test | h     | i    | test   | test   | test  | test    | test | test  | test  | test  | test  | test
pipe::Sender         |                  | test | c    | test  | i    | test   | test   | test  | test    | test | test  | test  | test  | test  | test
";

/// Why a column has no meaning for a type, by the manual.
pub(crate) const NOTES: [(&str, &str); 9] = [
    (
        "a",
        "accept(2) returns a connection or none; there is no length that could be zero",
    ),
    (
        "b",
        "shutdown(2) closes one direction of a full-duplex connection; a listener has no connection, and what it does \
         to a listener is in the column eof",
    ),
    (
        "c",
        "write(2) knows no end of file; that the reader has gone is an error, EPIPE, which is in the column reset",
    ),
    (
        "d",
        "socket(2): a stream socket must be connected before any data may be sent or received on it",
    ),
    (
        "e",
        "udp(7) knows no connection that could end, in one direction or both; that nothing is at the other end is an error, \
         ECONNREFUSED, which is in the column reset",
    ),
    (
        "f",
        "recv(2): a datagram of no bytes is one like others, so 0 is no end, and unix(7) knows no other",
    ),
    (
        "g",
        "connect(2), EAGAIN: a Unix socket is connected at once or not at all; what waits for room in the queue is a timer, \
         which may be polled anywhere, and not the socket",
    ),
    (
        "h",
        "pipe(7): once no writer is left a read sees the end of file, which is in the column eof, and nothing else",
    ),
    (
        "i",
        "pipe(7): a pipe is unidirectional, so its only direction ends with it",
    ),
];

/// The public names of `net` that are no types with a descriptor, and why.
pub(crate) const PLAIN: [(&str, &str); 24] = [
    ("AddressesError", "an error"),
    ("ToSocketAddrs", "a trait, of addresses"),
    (
        "tcp::Reader",
        "what ReadHalf and OwnedReadHalf are aliases of",
    ),
    ("tcp::ReuniteError", "an error that gives two halves back"),
    ("tcp::SplitStream", "a trait, of what has halves"),
    (
        "tcp::ShutdownOnDrop",
        "the part of an OwnedWriteHalf that ends writing",
    ),
    ("tcp::TcpKeepalive", "three numbers"),
    (
        "tcp::Writer",
        "what WriteHalf and OwnedWriteHalf are aliases of",
    ),
    ("tcp::TcpInfo", "what the kernel counts"),
    ("udp::Batch", "room for datagrams"),
    ("udp::Ecn", "two bits"),
    ("udp::Outgoing", "a datagram to be sent"),
    ("udp::Received", "a datagram of a Batch"),
    ("udp::RecvMeta", "what goes with a datagram"),
    ("udp::Sent", "two numbers"),
    (
        "unix::Reader",
        "what ReadHalf and OwnedReadHalf are aliases of",
    ),
    (
        "unix::ReceivedFds",
        "what has arrived, with descriptors that are std's",
    ),
    ("unix::ReuniteError", "an error that gives two halves back"),
    (
        "unix::ShutdownOnDrop",
        "the part of an OwnedWriteHalf that ends writing",
    ),
    ("unix::SocketAddr", "std's address"),
    ("unix::SplitStream", "a trait, of what has halves"),
    ("unix::UCred", "three numbers"),
    (
        "unix::Writer",
        "what WriteHalf and OwnedWriteHalf are aliases of",
    ),
    ("pipe::OpenOptions", "two switches"),
];

/// What can happen to any socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    ZeroLength,
    Eof,
    Reset,
    HalfClose,
    Cancel,
    Emfile,
    FirstUsedElsewhere,
    ForeignRuntime,
    DroppedElsewhere,
    ForkedChild,
    RuntimeEnded,
    MadeBlocking,
    EpollClean,
    Chaos,
}

impl Column {
    pub(crate) const ALL: [Column; 14] = [
        Column::ZeroLength,
        Column::Eof,
        Column::Reset,
        Column::HalfClose,
        Column::Cancel,
        Column::Emfile,
        Column::FirstUsedElsewhere,
        Column::ForeignRuntime,
        Column::DroppedElsewhere,
        Column::ForkedChild,
        Column::RuntimeEnded,
        Column::MadeBlocking,
        Column::EpollClean,
        Column::Chaos,
    ];

    /// What the table calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Column::ZeroLength => "zero",
            Column::Eof => "eof",
            Column::Reset => "reset",
            Column::HalfClose => "half",
            Column::Cancel => "cancel",
            Column::Emfile => "emfile",
            Column::FirstUsedElsewhere => "first",
            Column::ForeignRuntime => "foreign",
            Column::DroppedElsewhere => "drop",
            Column::ForkedChild => "child",
            Column::RuntimeEnded => "ended",
            Column::MadeBlocking => "block",
            Column::EpollClean => "epoll",
            Column::Chaos => "chaos",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The column's test runs for the type.
    Test,
    /// It is that of the type which the row names.
    Same,
    /// It has no meaning, for the reason of this note.
    Note(String),
}

#[derive(Debug)]
pub(crate) struct Row {
    /// The type's path from `net` on.
    pub(crate) name: String,
    same_as: String,
    /// In the order of [`Column::ALL`], as far as there are any.
    cells: Vec<Option<Cell>>,
}

impl Row {
    pub(crate) fn cell(&self, column: Column) -> Option<&Cell> {
        self.cells.get(column as usize)?.as_ref()
    }

    fn tests(&self, column: Column) -> bool {
        self.cell(column) == Some(&Cell::Test)
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    titles: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn of_net() -> Table {
        Table::parse(TABLE)
    }

    pub(crate) fn parse(text: &str) -> Table {
        let words = |line: &str| -> Vec<String> {
            line.split('|').map(|word| word.trim().to_owned()).collect()
        };
        let mut lines = text.trim().lines();
        let titles = words(lines.next().unwrap_or(""));
        let row = |line| {
            let mut words = words(line).into_iter();
            Row {
                name: words.next().unwrap_or_default(),
                same_as: words.next().unwrap_or_default(),
                cells: words.map(cell).collect(),
            }
        };
        Table {
            titles,
            rows: lines.map(row).collect(),
        }
    }

    /// What is wrong with it, if these are the types of `net`.
    pub(crate) fn complaints(
        &self,
        types: &BTreeSet<String>,
        plain: &[(&str, &str)],
        notes: &[(&str, &str)],
    ) -> Vec<String> {
        let mut complaints = Vec::new();
        let titles = ["type", "same as"]
            .into_iter()
            .chain(Column::ALL.map(Column::title));
        if !titles.eq(self.titles.iter().map(String::as_str)) {
            complaints.push(format!("the columns are called {:?}", self.titles));
        }
        let is_plain = |name: &str| plain.iter().any(|(plain, _)| *plain == name);
        for name in types {
            let rows = self.rows.iter().filter(|row| row.name == *name).count();
            if rows + usize::from(is_plain(name)) != 1 {
                complaints.push(format!(
                    "`{name}` has {rows} rows, and is plain: {}",
                    is_plain(name)
                ));
            }
        }
        let rows = self.rows.iter().map(|row| row.name.as_str());
        for name in rows.chain(plain.iter().map(|(name, _)| *name)) {
            if !types.contains(name) {
                complaints.push(format!("there is no type `{name}`"));
            }
        }
        for row in &self.rows {
            complaints.extend(self.wrong_cells(row, notes));
        }
        for (letter, reason) in notes {
            let used = |row: &Row| row.cells.contains(&Some(Cell::Note((*letter).to_owned())));
            if !self.rows.iter().any(used) {
                complaints.push(format!("no cell has the note {letter}"));
            }
            if !cites_the_manual(reason) {
                complaints.push(format!("the note {letter} cites no man page"));
            }
        }
        complaints
    }

    fn wrong_cells(&self, row: &Row, notes: &[(&str, &str)]) -> Vec<String> {
        let mut complaints = Vec::new();
        let name = &row.name;
        if row.cells.len() > Column::ALL.len() {
            complaints.push(format!("`{name}` has {} cells", row.cells.len()));
        }
        for column in Column::ALL {
            let at = format!("`{name}`, {}", column.title());
            match row.cell(column) {
                None => complaints.push(format!("{at}: no cell")),
                Some(Cell::Test) => {}
                Some(Cell::Same) => {
                    let is_owner = |owner: &&Row| owner.name == row.same_as;
                    let owner = self.rows.iter().find(is_owner);
                    if !owner.is_some_and(|owner| owner.tests(column)) {
                        let owner = &row.same_as;
                        complaints
                            .push(format!("{at}: the same as `{owner}`, which is not tested"));
                    }
                }
                Some(Cell::Note(letter)) => {
                    if !notes.iter().any(|(note, _)| note == letter) {
                        complaints.push(format!("{at}: no note {letter}"));
                    }
                }
            }
        }
        complaints
    }

    /// The rows of which nothing says how their types are made, and the other way round.
    pub(crate) fn unmade(&self, made: &[&str]) -> Vec<String> {
        let mut complaints = Vec::new();
        for row in self
            .rows
            .iter()
            .filter(|row| !made.contains(&row.name.as_str()))
        {
            complaints.push(format!("nothing says how a `{}` is made", row.name));
        }
        for name in made
            .iter()
            .filter(|name| !self.rows.iter().any(|row| row.name == **name))
        {
            complaints.push(format!("`{name}` is made, and has no row"));
        }
        complaints
    }
}

fn cell(word: String) -> Option<Cell> {
    match word.as_str() {
        "" => None,
        "test" => Some(Cell::Test),
        "same" => Some(Cell::Same),
        _ => Some(Cell::Note(word)),
    }
}

/// A page is named like `accept(2)`.
fn cites_the_manual(reason: &str) -> bool {
    reason.split(['(', ')']).skip(1).step_by(2).any(|section| {
        section.len() == 1 && section.starts_with(|c: char| ('2'..='7').contains(&c))
    })
}

/// The columns for which these sources have no test, or several.
pub(crate) fn untested(sources: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    for column in Column::ALL {
        // The test's own body names the column.
        let word = format!("Column::{column:?},");
        let tests = sources
            .iter()
            .flat_map(|source| source.split("#[test]").skip(1));
        let count = tests.filter(|test| test.contains(&word)).count();
        if count != 1 {
            complaints.push(format!("{column:?} has {count} tests"));
        }
    }
    complaints
}
