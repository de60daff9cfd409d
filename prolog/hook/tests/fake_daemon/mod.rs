//! A stand-in for the node's client daemon: answers every call on its socket with fixed bytes and keeps the calls.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use forebay_wire::node::{NodeCall, NodeReply, NodeRequest};

/// The calls a fake daemon was asked, in order.
pub struct Calls(Receiver<NodeCall>);

impl Calls {
    /// The next request, within five seconds.
    pub fn next(&self) -> NodeRequest {
        self.0.recv_timeout(Duration::from_secs(5)).expect("the daemon was asked").request
    }
}

/// Listens on `socket` and answers each call with `answer`; `None` accepts and never answers.
pub fn listen(socket: &Path, answer: Option<Vec<u8>>) -> Calls {
    let listener = UnixListener::bind(socket).unwrap();
    let (sender, calls) = channel();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream: UnixStream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            // A test that is not interested in the questions has dropped them.
            drop(sender.send(serde_json::from_str(&line).unwrap()));
            match &answer {
                // The caller may hang up in the middle of an oversized answer.
                Some(bytes) => drop(stream.write_all(bytes)),
                None => silent.push(stream),
            }
        }
    });
    Calls(calls)
}

/// A reply as the daemon sends it.
pub fn line(reply: &NodeReply) -> Option<Vec<u8>> {
    let mut bytes = serde_json::to_vec(reply).unwrap();
    bytes.push(b'\n');
    Some(bytes)
}
