//! What steps 4 and 5 are put to: a server with five clients that say hello, and five that never say anything.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Registration, run, serve, spawn};

/// Says how many clients the server still waits for when nothing happens any more.
pub(super) fn silence() {
    let mut clients = Vec::new();
    for n in 0..10 {
        let (stream, mut client) = UnixStream::pair().expect("two sockets");
        spawn(serve(Registration::new(stream)));
        if n % 2 == 0 {
            client.write_all(b"hello").expect("room for 5 bytes");
            client.shutdown(Shutdown::Write).expect("it is connected");
        }
        clients.push(client);
    }
    let left = run(Duration::from_secs(1));
    println!("silent clients left: {left} of 5");
    // The others have their answers. (Those of the silent ones were dropped with their tasks, and so each ends here.)
    let answered = clients.iter_mut().filter_map(|client| {
        let mut answer = String::new();
        client.read_to_string(&mut answer).ok()?;
        (answer == "hello").then_some(())
    });
    println!("answered: {} of 5", answered.count());
}
