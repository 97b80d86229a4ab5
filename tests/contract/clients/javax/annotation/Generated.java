package javax.annotation;

/** What generated code marks itself with, and JDK 9 and later no longer have. */
public @interface Generated {
    String value();

    String date() default "";

    String comments() default "";
}
