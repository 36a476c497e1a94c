// Package queue is one lane on disk: a durable first-in-first-out queue of
// messages, which numbers them, keeps them until a store has them, and can prove
// what became of each.
package queue
