package main

import (
	"context"
	"io"

	pb "old.example/push/exportpb"
)

// The task's id is read before the rows are sent.
func push(context context.Context, client pb.ExportServiceClient, rows int, format string) (int, *pb.ExportResponse) {
	stream, err := client.StreamExport(context)
	check(err)
	check(stream.Send(metadata("many", format, rows)))
	last, err := stream.Recv()
	check(err)
	batches(rows, stream.Send)
	check(stream.CloseSend())
	for count := 1; ; count++ {
		next, err := stream.Recv()
		if err == io.EOF {
			return count, last
		}
		check(err)
		last = next
	}
}
