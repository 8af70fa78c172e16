// Push the rows of a CSV file to Fluxport over gRPC, fetch the finished file, and prove that it is complete.
//
//	protoc -I PATH/TO/PROTO --go_out=. --go-grpc_out=. \
//	    --go_opt=module=fluxport.example/push --go_opt=Mexport.proto=fluxport.example/push/exportpb \
//	    --go-grpc_opt=module=fluxport.example/push --go-grpc_opt=Mexport.proto=fluxport.example/push/exportpb export.proto
//	export FLUXPORT_GRPC=127.0.0.1:9090 FLUXPORT_KEY=fxp_...    # fluxport keys create NAME --user YOU --scope push
//	go run . orders.csv orders.xlsx
//
// A column's type may follow its name in the header: id:number, name, day:date, paid:boolean. The format is the suffix of
// the second file: csv, xlsx, jsonl or parquet. It gets its name only if rows, bytes and SHA-256 match the service's.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"fluxport.example/push/exportpb"
)

const rowsPerBatch = 1000

var formats = map[string]exportpb.ExportFormat{
	".csv":     exportpb.ExportFormat_FORMAT_CSV,
	".xlsx":    exportpb.ExportFormat_FORMAT_EXCEL,
	".jsonl":   exportpb.ExportFormat_FORMAT_JSONL,
	".parquet": exportpb.ExportFormat_FORMAT_PARQUET,
}

func main() {
	if len(os.Args) != 3 || formats[filepath.Ext(os.Args[2])] == 0 || os.Getenv("FLUXPORT_KEY") == "" {
		fmt.Fprintln(os.Stderr, "usage: FLUXPORT_KEY=... go run . ROWS.csv FILE.csv|.xlsx|.jsonl|.parquet")
		os.Exit(2)
	}
	answer, err := push(os.Args[1], os.Args[2])
	if err == nil {
		err = fetch(answer, os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s: %d rows, %d bytes, sha256 %s\n",
		filepath.Base(os.Args[2]), answer.RecordCount, answer.FileSizeBytes, answer.ChecksumSha256)
}

// push sends all rows and returns the last response, which describes the finished file.
func push(source, target string) (*exportpb.ExportResponse, error) {
	address := os.Getenv("FLUXPORT_GRPC")
	if address == "" {
		address = "127.0.0.1:9090"
	}
	connection, err := grpc.Dial(address, grpc.WithInsecure())
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("FLUXPORT_KEY"))
	stream, err := exportpb.NewExportServiceClient(connection).StreamExport(ctx)
	if err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	go func() {
		err := send(stream, source, target)
		if err != nil && !errors.Is(err, io.EOF) { // EOF: the call has ended, and its status says why
			cancel()
		}
		sent <- err
	}()
	var last *exportpb.ExportResponse
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			cancel()
			if mine := <-sent; mine != nil && !errors.Is(mine, io.EOF) {
				return nil, mine
			}
			return nil, errors.New(status.Code(err).String() + ": " + status.Convert(err).Message())
		}
		fmt.Fprintln(os.Stderr, answer.Status, answer.RecordCount, "rows")
		last = answer
	}
}

// send writes the metadata, then the rows in numbered batches; Send waits while the service has no room.
func send(stream exportpb.ExportService_StreamExportClient, source, target string) error {
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	rows := csv.NewReader(file)
	rows.FieldsPerRecord = -1 // the service reports rows with another number of values
	header, err := rows.Read()
	if err != nil {
		return err
	}
	var columns []*exportpb.ColumnDefinition
	for _, cell := range header {
		name, kind, _ := strings.Cut(cell, ":")
		if kind == "" {
			kind = "string"
		}
		number := exportpb.DataType_value["DATA_TYPE_"+strings.ToUpper(kind)]
		columns = append(columns, &exportpb.ColumnDefinition{Name: name, DataType: exportpb.DataType(number)})
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	err = stream.Send(&exportpb.ExportRequest{Payload: &exportpb.ExportRequest_Metadata{Metadata: &exportpb.ExportMetadata{
		RequestId: hex.EncodeToString(id), // store it: a retry with the same id is the same task
		Format:    formats[filepath.Ext(target)],
		Filename:  filepath.Base(target),
		Columns:   columns,
	}}})
	batch := &exportpb.DataBatch{BatchSequence: 1}
	for err == nil {
		var row []string
		row, err = rows.Read()
		if err == nil {
			batch.Records = append(batch.Records, &exportpb.Record{Values: row})
		}
		if len(batch.Records) == rowsPerBatch || (errors.Is(err, io.EOF) && len(batch.Records) > 0) {
			request := &exportpb.ExportRequest{Payload: &exportpb.ExportRequest_Batch{Batch: batch}}
			if failed := stream.Send(request); failed != nil {
				return failed
			}
			batch = &exportpb.DataBatch{BatchSequence: batch.BatchSequence + 1}
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return stream.CloseSend()
}

// fetch gets the file; it has its name only if its size and SHA-256 match those the service reported.
func fetch(answer *exportpb.ExportResponse, target string) error {
	response, err := http.Get(answer.OssUrl)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	part, err := os.Create(target + ".part")
	if err != nil {
		return err
	}
	defer os.Remove(target + ".part")
	digest := sha256.New()
	size, err := io.Copy(io.MultiWriter(part, digest), response.Body)
	if closed := part.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if size != answer.FileSizeBytes || hex.EncodeToString(digest.Sum(nil)) != answer.ChecksumSha256 {
		return errors.New("the file differs from the one the service stored")
	}
	return os.Rename(target+".part", target)
}
