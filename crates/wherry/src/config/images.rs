//! The flags of a node about images that nobody uses. Names, meanings and defaults are a kubelet's.

use std::time::Duration;

use clap::Args;
use wherry_agent::ImageGc;

/// When images go that nobody uses.
#[derive(Clone, Debug, Args)]
pub struct ImageFlags {
    /// How full a disk is, in percent, from which on images that no pod uses are removed from it (100: never)
    #[arg(long, env = "WHERRY_IMAGE_GC_HIGH_THRESHOLD", value_name = "PERCENT", default_value_t = ImageGc::default().high_threshold, value_parser = percent())]
    pub image_gc_high_threshold: u8,
    /// How full it is, in percent, when no more are removed
    #[arg(long, env = "WHERRY_IMAGE_GC_LOW_THRESHOLD", value_name = "PERCENT", default_value_t = ImageGc::default().low_threshold, value_parser = percent())]
    pub image_gc_low_threshold: u8,
    /// How long an image must have been there, and unused, before it may be removed
    #[arg(long, env = "WHERRY_MINIMUM_IMAGE_TTL_DURATION", value_name = "DURATION", default_value = "2m", value_parser = wherry_cli::duration)]
    pub minimum_image_ttl_duration: Duration,
}

impl ImageFlags {
    /// As the agent takes them.
    pub const fn gc(&self) -> ImageGc {
        ImageGc {
            high_threshold: self.image_gc_high_threshold,
            low_threshold: self.image_gc_low_threshold,
            ttl: self.minimum_image_ttl_duration,
        }
    }
}

fn percent() -> clap::builder::RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(..=100)
}
