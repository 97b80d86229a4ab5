import books.ApiClient;
import books.ApiException;
import books.ApiResponse;
import books.api.AuthApi;
import books.api.BooksApi;
import books.model.*;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonSerializer;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.module.SimpleModule;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** A tour of the API with the Java client that openapi-generator generates from its document. */
class Tour {
    static final String EMAIL = "ada@example.com", PASSWORD = "correct horse battery staple";
    static String token = "";

    static void check(boolean holds) {
        if (!holds) throw new AssertionError();
    }

    static class FileSerializer extends JsonSerializer<File> {
        @Override
        public void serialize(File file, JsonGenerator output, SerializerProvider provider) throws IOException {
            output.writeRaw(Files.readString(file.toPath()));
        }
    }

    interface Call {
        void run() throws ApiException;
    }

    static Problem refused(Call call) throws Exception {
        try {
            call.run();
        } catch (ApiException error) {
            return ApiClient.createDefaultObjectMapper().readValue(error.getResponseBody(), Problem.class);
        }
        throw new AssertionError("was not refused");
    }

    public static void main(String[] arguments) throws Exception {
        ApiClient client = new ApiClient();
        client.updateBaseUri(arguments[0]);
        client.setRequestInterceptor(request -> {
            if (!token.isEmpty()) request.header("Authorization", "Bearer " + token);
        });
        // The generator's HttpClient writes a file as JSON, its path; a file must go as it is.
        client.setObjectMapper(ApiClient.createDefaultObjectMapper().registerModule(
                new SimpleModule().addSerializer(File.class, new FileSerializer())));
        AuthApi auth = new AuthApi(client);
        BooksApi books = new BooksApi(client);

        Signup signup = new Signup().username("ada").email(EMAIL).password(PASSWORD);
        User user = auth.signup(AuthApi.APISignupRequest.newBuilder().signup(signup).build());
        LoginAnswer tokens = auth.login(new Login().email(EMAIL).password(PASSWORD));
        check(tokens.getUser().getUid().equals(user.getId()));
        token = tokens.getRefreshToken();
        token = auth.rotateRefreshToken().getAccessToken();

        BookInput hobbit = new BookInput().title("The Hobbit").author("J. R. R. Tolkien").publishedDate("1937-09-21");
        Book book = books.createBook(hobbit, "a-new-value-for-each-book");
        check(books.createBook(hobbit, "a-new-value-for-each-book").equals(book));
        Book emma = books.createBook(new BookInput().title("Emma").author("Jane Austen"), null);

        BooksApi.APIListBooksRequest.Builder page =
                BooksApi.APIListBooksRequest.newBuilder().limit(1).sort("title").count("true");
        ApiResponse<List<Book>> first = books.listBooksWithHttpInfo(page.build());
        check(first.getData().equals(List.of(emma)));
        check(first.getHeaders().get("x-total-count").equals(List.of("2")));
        String link = first.getHeaders().get("link").get(0);
        String cursor = link.replaceAll(".*cursor=([^&>]+).*", "$1");
        check(books.listBooks(page.cursor(cursor).build()).equals(List.of(book)));
        check(books.listBooks(BooksApi.APIListBooksRequest.newBuilder().q("hobit").build()).equals(List.of(book)));

        String etag = books.getBookWithHttpInfo(book.getId(), null).getHeaders().get("etag").get(0);
        Book changed = books.updateBook(book.getId(), new BookUpdate().pageCount(310), etag);
        check(changed.getTitle().equals("The Hobbit") && changed.getPageCount() == 310);
        Problem stale = refused(() -> books.updateBook(book.getId(), new BookUpdate().pageCount(7), etag));
        check(stale.getStatus() == 412 && stale.getCurrent().equals(changed));

        Path file = Files.createTempFile(Path.of("."), "books", ".csv");
        Files.writeString(file, "Title,Author\nOrlando,Virginia Woolf\n");
        ImportReport report = books.importBooks(
                BooksApi.APIImportBooksRequest.newBuilder().body(file.toFile()).build());
        check(report.getRead() == 1 && report.getImported() == 1);
        File exported = books.exportBooks(
                BooksApi.APIExportBooksRequest.newBuilder().author("woolf").format("csv").build());
        check(Files.readString(exported.toPath()).contains("Orlando,Virginia Woolf"));

        BookInput misprint = new BookInput().title("Emma").author("Jane Austen").isbn("9780261102210");
        Problem wrong = refused(() -> books.createBook(misprint, null));
        check(wrong.getType().toString().equals("/problems/validation"));
        check(wrong.getErrors().get(0).getPointer().equals("/isbn"));
        check(wrong.getErrors().get(0).getCode().equals("check-digit"));

        auth.deleteMe(new Confirmation().currentPassword(PASSWORD));
    }
}
