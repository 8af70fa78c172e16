// Pushes rows as a program of the export middleware: no metadata, no key. Usage: push TARGET ROWS CSV|EXCEL
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"

	pb "old.example/push/exportpb"
)

const batch = 1000

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	rows, err := strconv.Atoi(os.Args[2])
	check(err)
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	check(err)
	defer connection.Close()
	context, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	count, last := push(context, pb.NewExportServiceClient(connection), rows, os.Args[3])
	fmt.Println(count, last.Status, last.RecordCount, last.OssUrl)
}

func metadata(kind, format string, rows int) *pb.ExportRequest {
	return &pb.ExportRequest{Payload: &pb.ExportRequest_Metadata{Metadata: &pb.ExportMetadata{
		RequestId: fmt.Sprintf("go-%s-%s-%d", kind, format, rows),
		Format:    pb.ExportFormat(pb.ExportFormat_value["FORMAT_"+format]),
		Filename:  "orders",
		Columns: []*pb.ColumnDefinition{
			{Name: "id", DataType: pb.DataType_DATA_TYPE_NUMBER},
			{Name: "name", DataType: pb.DataType_DATA_TYPE_STRING},
		},
	}}}
}

func batches(rows int, send func(*pb.ExportRequest) error) {
	for start := 0; start < rows; start += batch {
		records := []*pb.Record{}
		for i := start; i < start+batch && i < rows; i++ {
			records = append(records, &pb.Record{Values: []string{strconv.Itoa(i), fmt.Sprintf("name %d", i)}})
		}
		sent := &pb.DataBatch{Records: records, BatchSequence: int64(start / batch)}
		check(send(&pb.ExportRequest{Payload: &pb.ExportRequest_Batch{Batch: sent}}))
	}
}
