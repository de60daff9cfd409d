//! Values that are one word out of a few.

use std::fmt;

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every word that can be written, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($text),+];

            /// The value of a word, `None` where no value has it.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The word that is written for it.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

choice! {
    /// Which version of a source a job sees.
    Version {
        /// The one found when the job was submitted, whatever happens upstream.
        #[default]
        Pin = "pin",
    }
}
choice! {
    /// How much of an input must be hot before the job may start.
    Ready {
        /// All of it.
        #[default]
        All = "100%",
        /// Nothing: a read of a cold range recalls it.
        Nothing = "none",
    }
}
choice! {
    /// Which end of a job an output is copied after.
    When {
        /// Exit code 0.
        #[default]
        Success = "success",
        /// Any end.
        Always = "always",
        /// A failure of the job or of a node.
        Fail = "fail",
        /// The job's time limit.
        Timeout = "timeout",
        /// A requeue or preemption.
        Requeue = "requeue",
    }
}
choice! {
    /// What happens where the destination already has an object of the same name.
    Conflict {
        /// The output is parked; nothing is overwritten.
        #[default]
        Fail = "fail",
        /// The old object is replaced.
        Overwrite = "overwrite",
        /// The new objects get the suffix `.attempt-N`.
        Version = "version",
    }
}
choice! {
    /// How a job is kept from starting before its data is there.
    Gate {
        /// As the site's `[gate] default` says.
        #[default]
        Auto = "auto",
        /// Held (priority 0) and released by the stager.
        Hold = "hold",
        /// Not at all: reads of cold ranges recall them.
        Lazy = "lazy",
    }
}
choice! {
    /// What happens to a pending job whose inputs cannot be staged.
    OnError {
        /// It stays held until `forebay job retry`.
        #[default]
        Hold = "hold",
        /// It is cancelled.
        Cancel = "cancel",
        /// It starts without.
        Start = "start",
    }
}
choice! {
    /// Where the user is told about progress.
    Notify {
        /// In the job's admin comment.
        #[default]
        Comment = "comment",
        /// Nowhere.
        Nothing = "none",
    }
}
choice! {
    /// Whether an output must arrive for the job's staging to count as done.
    Commit {
        /// It must; a failure parks it.
        #[default]
        Required = "yes",
        /// A failure is a warning.
        Optional = "no",
    }
}
