// Package pki has what both sides of a secured link need of X.509: a collector's
// own authority, who a certificate speaks for, enrolment tokens, and files that
// are read again when they change. It opens no connection.
//
//	collector                                   agent
//	---------                                   -----
//	Authority --signs--> server's certificate   Token: a secret, and which authority to trust
//	    |                                       NewKey, NewRequest: the key never leaves the machine
//	    +------signs---> agent's certificate <--- Request.ID, checked against the token
//	                     URI fieldpost://agent/ID
//
// Keys are ECDSA on P-256. Ed25519 would save a tenth of a handshake, but no
// browser takes it, and the collector's certificate also serves its pages.
//
// An agent's certificate is for clients, a collector's for servers, so no agent
// can pass as a collector. A collector that has its own authority answers to
// [ServerName], whatever name or tunnel leads to it: an agent that was enrolled
// there trusts that authority and no other, which signs no other servers.
//
// Files with secrets are made with mode 0600, in folders of mode 0700, are never
// read through a symbolic link, and not if others may read them.
package pki
