//! What a step says: a status that is to be written, and events in a kubelet's words.

use super::{Machine, is_of_image};
use crate::pod::{Effect, Hindrance, Notice, ProbeKind, Urgency};

impl Machine {
    /// Asks for a status, once a step and as soon as any part of the step wants it.
    pub(super) fn report(&mut self, urgency: Urgency) {
        match self.effects.iter_mut().find(|effect| matches!(effect, Effect::Report(_))) {
            Some(Effect::Report(Urgency::Now)) => {}
            Some(effect) => *effect = Effect::Report(urgency),
            None => self.effects.push(Effect::Report(urgency)),
        }
    }

    pub(super) fn tell(&mut self, index: Option<usize>, reason: &'static str, message: String) {
        self.effects.push(Effect::Emit(Notice { warning: false, reason, message, index }));
    }

    pub(super) fn warn(&mut self, index: Option<usize>, reason: &'static str, message: String) {
        self.effects.push(Effect::Emit(Notice { warning: true, reason, message, index }));
    }

    /// In a kubelet's words.
    pub(super) fn tell_not_started(&mut self, index: usize, hindrance: &Hindrance) {
        let Hindrance { reason, message } = hindrance;
        match *reason {
            "ErrImagePull" => self.warn(Some(index), "Failed", capitalized(message)),
            "ErrImageNeverPull" => self.warn(Some(index), "ErrImageNeverPull", message.clone()),
            reason if is_of_image(reason) => self.warn(Some(index), "InspectFailed", message.clone()),
            _ => return self.warn(Some(index), "Failed", format!("Error: {message}")),
        }
        self.warn(Some(index), "Failed", format!("Error: {reason}"));
    }
}

fn capitalized(sentence: &str) -> String {
    let mut sentence = sentence.to_owned();
    sentence.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    sentence
}

impl ProbeKind {
    /// As messages have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}
