// Package boot tells one start of the machine from another, and how long ago the
// present one was, sleep included: time that no wrong clock can bend.
package boot
