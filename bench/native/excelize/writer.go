// Arrow columns to a workbook with excelize's StreamWriter, built as a shared library.
package main

// #cgo CFLAGS: -I${SRCDIR}/..
// #include "columns.h"
import "C"

import (
	"unsafe"

	"github.com/xuri/excelize/v2"
)

//export write_columns
func write_columns(path *C.char, columns *C.column, count C.int, rows C.int64_t, dates *C.char) *C.char {
	if err := write(C.GoString(path), unsafe.Slice(columns, count), int(rows), C.GoString(dates)); err != nil {
		return C.CString(err.Error())
	}
	return nil
}

func write(path string, columns []C.column, rows int, dates string) error {
	book := excelize.NewFile()
	defer book.Close()
	date, err := book.NewStyle(&excelize.Style{CustomNumFmt: &dates})
	if err != nil {
		return err
	}
	sheet, err := book.NewStreamWriter("Sheet1")
	if err != nil {
		return err
	}
	cells := make([]interface{}, len(columns))
	for at := range columns {
		cells[at] = C.GoString(columns[at].name)
	}
	if err := sheet.SetRow("A1", cells); err != nil {
		return err
	}
	for row := 0; row < rows; row++ {
		for at := range columns {
			cells[at] = cell(&columns[at], row, date)
		}
		name, err := excelize.CoordinatesToCellName(1, row+2)
		if err != nil {
			return err
		}
		if err := sheet.SetRow(name, cells); err != nil {
			return err
		}
	}
	if err := sheet.Flush(); err != nil {
		return err
	}
	return book.SaveAs(path)
}

func cell(column *C.column, row int, date int) interface{} {
	if column.valid != nil && !bit(unsafe.Pointer(column.valid), row) {
		return nil
	}
	switch column.kind {
	case 'i':
		return *(*int64)(unsafe.Add(column.values, 8*row))
	case 'f':
		return *(*float64)(unsafe.Add(column.values, 8*row))
	case 't':
		return excelize.Cell{StyleID: date, Value: *(*float64)(unsafe.Add(column.values, 8*row))}
	case 'b':
		return bit(column.values, row)
	default:
		offsets := unsafe.Slice(column.offsets, row+2)
		start, end := int(offsets[row]), int(offsets[row+1])
		return unsafe.String((*byte)(unsafe.Add(column.values, start)), end-start)
	}
}

func bit(bits unsafe.Pointer, at int) bool {
	return *(*byte)(unsafe.Add(bits, at>>3))>>(at&7)&1 == 1
}

func main() {}
