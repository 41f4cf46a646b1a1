//! What happens to processes: they die, stand still, get wrong clocks and are cut off, at any time, and at the moments
//! that matter: when a request is about to be sent, when it was sent, and when its answer comes.

use crate::{
    backends::Weather,
    dice::Dice,
    settings::{Hurt, Scene},
    wire::{Role, Sent},
    world::{LEDGER, Millis, Order, World},
};

/// How long a process stands still that is made to.
const MINUTE: Millis = 60_000;

impl World {
    /// Something is about to be sent by a process: it has left the queue of requests, and not yet passed the last gate.
    /// Whether something happens to the process at this very moment.
    pub fn about_to_send(&mut self, place: usize, role: Role, text: &str, at: Millis) -> bool {
        let writes = role != Role::Election && !text.starts_with("GET");
        let number = self.reached;
        self.reached += u64::from(writes);
        let hurt = match self.settings.scene {
            Scene::Hurt { write, how } if writes && write == number => Some(how),
            _ => None,
        };
        let order = match hurt {
            Some(Hurt::KilledBefore) => Order::Kill,
            Some(Hurt::StoppedBefore) => Order::Stop(at + MINUTE),
            _ if self.calm => return false,
            _ => {
                let mut dice = self.dice_of(text, at);
                if !dice.happens(risk(role, text)) {
                    return false;
                }
                self.count("struck when about to send");
                strike(&mut dice, at)
            }
        };
        self.orders.push((place, order));
        true
    }

    /// What happens to a process right after it has sent something.
    pub fn after_sending(&mut self, sent: &Sent) -> bool {
        let writes = sent.role != Role::Election && sent.method != http::Method::GET;
        let number = self.writes;
        self.writes += u64::from(writes);
        let order = match self.settings.scene {
            Scene::Hurt { write, how } if writes && write == number => match how {
                Hurt::KilledAfter => Order::Kill,
                Hurt::StoppedAfter => Order::Stop(sent.at + MINUTE),
                Hurt::KilledAtAnswer => return true,
                _ => return false,
            },
            _ if self.calm => return false,
            _ => {
                let mut dice = self.dice_of(&format!("{} {} then", sent.place, sent.path), sent.at);
                if !dice.happens(risk(sent.role, &sent.path)) {
                    return false;
                }
                self.count("struck when something was sent");
                strike(&mut dice, sent.at)
            }
        };
        self.orders.push((sent.place, order));
        false
    }

    /// Whether a process is cut off from the API server.
    pub fn is_cut_off(&self, sent: &Sent) -> bool {
        let (until, all) = self.cuts[sent.place];
        sent.at < until && (all || sent.role == Role::Election)
    }

    /// Whether this is the write whose answer never comes.
    pub fn loses_answer(&self, sent: &Sent) -> bool {
        let writes = sent.role != Role::Election && sent.method != http::Method::GET;
        // It was counted when it was sent.
        writes && self.settings.scene == Scene::Hurt { write: self.writes - 1, how: Hurt::AnswerLost }
    }

    /// What happens to processes.
    pub fn trouble(&mut self) {
        if self.calm {
            return;
        }
        let place = usize::try_from(self.dice.between(0, 2)).expect("two");
        let order = match self.dice.below_thousand() {
            0..250 => Order::Kill,
            250..350 => Order::Terminate,
            350..500 => {
                let (wait, all) = (self.dice.between(3_000, 40_000), self.dice.happens(500));
                self.cuts[place] = (self.now + wait, all);
                self.count(if all { "process cut off" } else { "election cut off" });
                return self.trouble_again();
            }
            500..800 => {
                let longest = self.dice.pick(&[3_000, 12_000, 60_000]);
                Order::Stop(self.now + self.dice.between(500, longest))
            }
            _ => Order::Skew(
                self.dice.pick(&[0, 0, 1_000, -1_000, 4_000, -4_000, 20_000, -20_000, 3_600_000, -3_600_000]),
            ),
        };
        self.orders.push((place, order));
        self.trouble_again();
    }

    fn trouble_again(&mut self) {
        let [shortest, longest] = self.settings.pauses;
        let pause = self.dice.between(shortest, longest);
        self.after(pause, Self::trouble);
    }

    pub fn calm_down(&mut self) {
        self.calm = true;
        self.cuts = [(0, false); 2];
        self.weather = Weather::Fine;
        for place in 0..2 {
            self.orders.push((place, Order::Skew(0)));
        }
    }
}

/// How many times in a thousand something happens to a process at a request: often, where a restart is under way.
fn risk(role: Role, text: &str) -> u64 {
    let matters = ["/eviction", "/deployments/", LEDGER].iter().any(|it| text.contains(it));
    match role {
        Role::Acting if matters => 80,
        Role::Acting => 5,
        Role::Reading | Role::Election => 2,
    }
}

/// What happens to a process at a moment that matters: it dies, or stands still, mostly for longer than a lease lasts.
fn strike(dice: &mut Dice, at: Millis) -> Order {
    match dice.below_thousand() {
        0..300 => Order::Kill,
        300..500 => Order::Stop(at + dice.between(500, 5_000)),
        _ => Order::Stop(at + dice.between(8_000, MINUTE)),
    }
}
