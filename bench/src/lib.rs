//! Cost per sample and per recording, as ratios against other profilers in the same run.
