// Lists tars as docker, podman, containerd and umoci see them: with Go's archive/tar. From standard input it takes tars,
// each behind its size (4 bytes, little-endian); for each it answers a text behind its size, a line a member:
// TYPE SIZE HASH NAME LINK, and at the end "ok" or "refused". tar_mutations.c writes the same lines.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// As much of a file as is compared: holes may make it endless.
const hashed = 256 << 10

func escape(text string) string {
	var out bytes.Buffer
	for i := 0; i < len(text); i++ {
		if c := text[i]; c > ' ' && c < 0x7f && c != '%' {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "%%%02x", c)
		}
	}
	return out.String()
}

// What docker makes of a type; 0: it refuses the layer.
func kind(header *tar.Header) byte {
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeRegA, tar.TypeCont, tar.TypeGNUSparse:
		return 'f'
	case tar.TypeLink:
		return 'h'
	case tar.TypeSymlink:
		return 'l'
	case tar.TypeChar:
		return 'c'
	case tar.TypeBlock:
		return 'b'
	case tar.TypeDir:
		return 'd'
	case tar.TypeFifo:
		return 'p'
	}
	return 0
}

func list(data []byte, out *bytes.Buffer) bool {
	reader := tar.NewReader(bytes.NewReader(data))
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		k, size, link, hash := kind(header), int64(0), "", fnv.New64a()
		if k == 0 {
			return false
		}
		if k == 'f' {
			size = header.Size
			_, err = io.CopyN(hash, reader, hashed)
			if err != nil && err != io.EOF {
				return false
			}
		}
		if k == 'h' || k == 'l' {
			link = header.Linkname
		}
		fmt.Fprintf(out, "%c %d %016x %s %s\n", k, size, hash.Sum64(), escape(header.Name), escape(link))
	}
}

func main() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		var size uint32
		if binary.Read(in, binary.LittleEndian, &size) != nil {
			return
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(in, data); err != nil {
			return
		}
		var text bytes.Buffer
		if list(data, &text) {
			text.WriteString("ok\n")
		} else {
			text.WriteString("refused\n")
		}
		binary.Write(out, binary.LittleEndian, uint32(text.Len()))
		out.Write(text.Bytes())
		out.Flush()
	}
}
