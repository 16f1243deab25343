// Package audit keeps and answers from the record of what a registry's deployment decided
// and did: every decision of the token server, every event that the registry reports, every
// change that the command line makes.
//
// # The log
//
// A log is a folder. Its lines are JSON objects ([Record]) of at most [MaxLine] bytes in
// segments: audit.jsonl is the one that is written, audit-00000001.jsonl(.gz) and so on are
// the ones that were rotated away. Lines are numbered from 1 without a break ("seq") and
// hash-chained:
//
//	chain(n) = SHA-256(chain(n-1) || the bytes of line n before ,"chain":")
//
// with 32 zero bytes before the first line. The head (how many lines there are, and the
// chain's last hash) is kept in a file of its own, "head", so that a log whose end was cut
// off is noticed. [Verify] checks all of it and says where it breaks. Whoever can write the
// folder can also write a whole new chain: against that a copy of the head elsewhere helps.
//
// # Writing
//
// [Log.Append] returns when its lines are in the file (and, with [SyncAlways], on the
// disk). Each line is one write to a file opened for appending. Several processes may
// write one log: they take turns by a kernel lock on the file "lock". A process that dies
// in mid-line leaves a torn tail; the next writer ends that line and marks it by a record of
// kind [KindGap]. Lines that could not be written for a time, because the disk was full,
// are counted in such a record too. Nothing is ever removed silently.
//
//	log := audit.NewLog(audit.Options{Dir: "audit", Sync: audit.SyncInterval})
//	defer log.Close()
//	err := log.Append(ctx, &audit.Record{Kind: audit.KindToken, Account: "alice", Authenticated: true, …})
//
// # Reading
//
// [Scan] streams through all segments, compressed or not, in constant memory and hands
// over the records that a [Filter] holds for.
//
//	stats, err := audit.Scan(ctx, "audit", &audit.Filter{Denied: true}, func(r *audit.Record) error { … })
//
// The package appends to its files instead of replacing them whole, which is why it does
// not write through the package that the rest of the project writes files with.
package audit
