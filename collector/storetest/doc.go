// Package storetest has what tests of and around stores need: [Run], the suite
// that every [collector.Store] must pass, and [Memory], the smallest store that
// passes it.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Hooks{Open: func(t *testing.T) collector.Store { ... }})
//	}
//
// The suite proves the contract of the interface by the rules of the design:
// sessions and fencing (15), matches (1, 2), conditional appends (9), what is
// announced (11), reading by cursor, and, with a Reopen hook, that a restart
// keeps all of it. It does not prove durability: what a power cut or a failing
// disk does is a test of the store's own.
package storetest
