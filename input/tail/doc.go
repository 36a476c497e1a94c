// Package tail reads files that grow, as logs do: each line, or each group of lines,
// is a message.
//
//	scan of the folders, every second, or when the system hints
//	   |  new, renamed, truncated, gone?
//	   v
//	file: [ read ............ | position + mark | not yet read ] --chunks--> input.Source
//
// A file is known by what the file system calls it (device and inode, under Windows
// volume and index) and by its content: a [mark] has checksums of its first bytes and
// of those right before the position. So it is found again under another name, as the
// copy that a copying rotation has made, or compressed with gzip; and another file in
// its place, or one that was truncated and filled again, is not taken for it.
//
// A file that was renamed is read to its end before the one that has taken its name
// is begun, and is watched for another minute. Rotated files that came and went while
// nobody read are read as well, oldest first, as long as one of them is the file where
// the reading had stopped.
//
// # What it promises
//
// What package input does: each byte once, over crashes at any moment, as long as it
// can be read. What was gone before it was read is reported, as far as anything is
// known of it.
//
// # What it does not
//
// A rotation by copying and truncating loses what is written between the two: that is
// its own doing. Rotated files are looked for beside the file, by names that begin with
// its own; one that is moved elsewhere, or compressed otherwise than by gzip, is
// followed only while it is open. Of lines longer than the limit several messages are
// made. Bytes are taken as they are, whatever their encoding; a line ends with a
// newline.
package tail
