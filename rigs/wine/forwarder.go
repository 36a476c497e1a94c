package wine

import (
	"bytes"
	"encoding/binary"
)

// forwarder returns a 64 bit DLL without code whose one function is another DLL's:
// to is "other.function". Go programs need ProcessPrng of bcryptprimitives.dll,
// which wine 8 has not.
func forwarder(name, function, to string) []byte {
	const (
		page   = 0x1000 // where the only section is in memory
		sector = 0x200  // and in the file
	)
	// The section: an export directory, its tables of one entry each, and strings.
	// An address that points into the directory's own range is a string: a forward.
	const tables, strings = 40, 40 + 4 + 4 + 2
	nameAt := page + strings
	functionAt := nameAt + len(name) + 1
	toAt := functionAt + len(function) + 1
	var section bytes.Buffer
	put(&section, uint32(0), uint32(0), uint32(0), uint32(nameAt), uint32(1), // flags, time, version, name, first ordinal
		uint32(1), uint32(1), // functions, names
		uint32(page+tables), uint32(page+tables+4), uint32(page+tables+8),
		uint32(toAt), uint32(functionAt), uint16(0), []byte(name+"\x00"+function+"\x00"+to+"\x00"))

	var file bytes.Buffer
	dos := make([]byte, 64)
	copy(dos, "MZ")
	dos[60] = 64                                                     // where the real header is
	put(&file, dos, []byte("PE\x00\x00"), uint16(0x8664), uint16(1), // amd64, one section
		uint32(0), uint32(0), uint32(0), uint16(240), uint16(0x2022), // a DLL
		uint16(0x20b), uint16(0), uint32(0), uint32(sector), uint32(0), // PE32+; sizes of code and data
		uint32(0), uint32(page), uint64(0x180000000), // no entry point; base of code; wanted address
		uint32(page), uint32(sector), uint16(6), uint16(0), uint16(0), // alignments; Windows 6.0
		uint16(0), uint16(6), uint16(0), uint32(0), uint32(2*page), // size in memory
		uint32(sector), uint32(0), uint16(3), uint16(0x0140), // headers; console; may be moved
		uint64(1<<20), uint64(page), uint64(1<<20), uint64(page), // stack and heap
		uint32(0), uint32(16), uint32(page), uint32(section.Len()), // 16 directories, the exports' first
		make([]byte, 15*8), // the other directories
		[]byte(".edata\x00\x00"), uint32(section.Len()), uint32(page), uint32(sector), uint32(sector),
		make([]byte, 12), uint32(0x40000040)) // data that may be read
	file.Write(make([]byte, sector-file.Len()))
	file.Write(section.Bytes())
	file.Write(make([]byte, 2*sector-file.Len()))
	return file.Bytes()
}

// put writes values of a fixed size in Windows' byte order.
func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		binary.Write(b, binary.LittleEndian, v) // a buffer takes everything
	}
}
