//! Several runs share one stream, and one of them is killed.

use rustix::process::Signal;

use crate::rig::{EventCounts, LONG, Load, Mosquitto, Recording, figures, wait_until};
use crate::support::Process;

const MANY: u64 = 6_000;

/// Three members with a file each, and the events of all of them.
struct Members<'a> {
    broker: &'a Mosquitto,
    recordings: Vec<Recording>,
}

impl<'a> Members<'a> {
    fn of(broker: &'a Mosquitto) -> Self {
        Self { broker, recordings: (0..3).map(|_| Recording::of(MANY)).collect() }
    }

    fn start(&self, member: usize) -> Process {
        let command = self.broker.rtcomm("watch --json --share archive --durable").arg(format!("archive-{member}"));
        command.start_onto(self.recordings[member].open())
    }

    /// Returns the events of all members together.
    fn union(&self) -> EventCounts {
        let mut union = EventCounts::of(MANY);
        for recording in &self.recordings {
            union.take(&std::fs::read(recording.path()).expect("the recording can be read"));
        }
        union
    }

    fn shares(&mut self) -> Vec<u64> {
        self.recordings.iter_mut().map(|recording| recording.read().distinct()).collect()
    }
}

#[test]
fn three_members_divide_the_stream_and_a_killed_member_loses_nothing() {
    let broker = Mosquitto::unlimited();
    let mut members = Members::of(&broker);
    let mut running: Vec<Process> = (0..3).map(|member| members.start(member).until_ready()).collect();
    let publisher = Load::to(broker.address(), 0..MANY).per_second(3_000).start();
    let story = |shares: &[u64]| format!("the shares are {shares:?}");
    wait_until("every member's first messages", LONG, String::new, || {
        members.shares().iter().all(|&it| it > MANY / 15)
    });
    let victim = running.remove(1);
    victim.signal(Signal::KILL);
    victim.end();
    publisher.finish(LONG);
    let alone = {
        let mut latest = (0, std::time::Instant::now());
        wait_until("the others to have had all they get", LONG, String::new, || {
            let came = members.shares().iter().sum();
            if came > latest.0 {
                latest = (came, std::time::Instant::now());
            }
            latest.1.elapsed() > std::time::Duration::from_secs(1)
        });
        members.union().missing().len()
    };
    running.push(members.start(1));
    wait_until("the union", LONG, || story(&[members.union().distinct()]), || members.union().is_complete());
    for process in running {
        process.terminate();
    }
    let union = members.union();
    union.check_is_whole_after_kills(1);
    figures(format_args!(
        "three members, one killed during {MANY} messages: {alone} waited for it to come back, then 0 missing, {} \
         duplicates; shares {:?}",
        union.duplicates(),
        members.shares()
    ));
}
