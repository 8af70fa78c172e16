module excelize_writer

go 1.25.0

require github.com/xuri/excelize/v2 v2.11.1
